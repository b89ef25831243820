UPDATE progress
SET wake_ms = named.wake_ms
FROM unnest($1::text[], $2::bigint[]) AS named (id, wake_ms)
JOIN execution ON execution.id = named.id
WHERE progress.execution = execution.number AND execution.partition = ANY ($3::integer[])
