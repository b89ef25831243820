WITH old AS (
    SELECT id FROM tombstone WHERE ended_ms < $1 ORDER BY ended_ms, id LIMIT $2
    FOR UPDATE SKIP LOCKED
),
forgotten AS (
    DELETE FROM tombstone USING old WHERE tombstone.id = old.id RETURNING 1
)
SELECT count(*) FROM forgotten
