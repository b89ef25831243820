-- One label leads through its index, newest first, and what it finds must have the others as well.
SELECT
    execution.created_ms, execution.number, execution.id, execution.partition, execution.workflow,
    execution.definition, execution.status, progress.updated_ms, execution.ended_ms,
    progress.wake_ms, execution.incident, execution.labels::text AS labels, execution.fingerprint
FROM label
JOIN execution ON execution.number = label.execution
JOIN progress ON progress.execution = label.execution
WHERE label.name = $7
    AND label.value = $8
    AND (label.created_ms, label.execution) < ($1::bigint, $2::bigint)
    AND ($4::integer IS NULL OR execution.partition = $4)
    AND execution.status = ANY ($5::text[])
    AND ($6 = '' OR execution.workflow = $6)
    AND (NOT $9::boolean OR execution.incident <> '')
    AND execution.labels @> $10::text::jsonb
ORDER BY label.created_ms DESC, label.execution DESC
LIMIT $3
