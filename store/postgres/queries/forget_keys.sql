WITH old AS (
    SELECT key FROM flow_inbox
    WHERE at < clock_timestamp() - $1::bigint * interval '1 millisecond'
    ORDER BY at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
forgotten AS (
    DELETE FROM flow_inbox USING old WHERE flow_inbox.key = old.key RETURNING 1
)
SELECT count(*) FROM forgotten
