-- The lease may have been renewed while we waited for the partition; then there is nothing to take.
UPDATE lease
SET owner = $2, epoch = $3, expires = clock_timestamp() + $4::bigint * interval '1 millisecond'
WHERE partition = $1 AND (owner = '' OR owner = $2 OR expires <= clock_timestamp())
RETURNING incarnation
