-- Touches no row that a commit locks.
WITH renewed AS (
    UPDATE lease
    SET expires = clock_timestamp() + $5::bigint * interval '1 millisecond'
    FROM unnest($2::integer[], $3::text[], $4::bigint[]) AS given (partition, owner, epoch)
    WHERE lease.partition = given.partition
        AND lease.owner = given.owner
        AND lease.epoch = given.epoch
    RETURNING lease.partition
),
joined AS (
    INSERT INTO member (owner, expires)
    VALUES ($1, clock_timestamp() + $5::bigint * interval '1 millisecond')
    ON CONFLICT (owner) DO UPDATE SET expires = excluded.expires
),
expired AS (
    DELETE FROM member
    WHERE owner IN (
        SELECT owner FROM member
        WHERE expires <= clock_timestamp() AND owner <> $1
        FOR UPDATE SKIP LOCKED
    )
)
SELECT
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
    ARRAY(SELECT partition FROM renewed) AS held,
    ARRAY(
        SELECT owner FROM member WHERE expires > clock_timestamp()
        UNION SELECT $1::text COLLATE "C"
        ORDER BY 1
    ) AS members,
    (SELECT number FROM revision) AS revision,
    ARRAY(
        SELECT partition FROM lease WHERE owner IN ('', $1) OR expires <= clock_timestamp()
    ) AS free
