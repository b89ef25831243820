-- Which partitions executions belong to, those that were pruned too.
SELECT partition FROM execution WHERE id = ANY ($1::text[])
UNION
SELECT partition FROM tombstone WHERE id = ANY ($1::text[])
