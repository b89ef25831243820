-- Whether a partition may be taken: without a lock, so that asking disturbs nobody.
SELECT
    lease.owner = '' OR lease.owner = $2 OR lease.expires <= clock_timestamp() AS is_free
FROM lease
WHERE partition = $1
