SELECT
    execution.created_ms, execution.number, execution.id, execution.partition, execution.workflow,
    execution.definition, execution.status, progress.updated_ms, execution.ended_ms,
    progress.wake_ms, execution.incident, execution.labels::text AS labels, execution.fingerprint
FROM execution JOIN progress ON progress.execution = execution.number
WHERE execution.status = $5
    AND (execution.created_ms, execution.number) < ($1::bigint, $2::bigint)
    AND ($4::integer IS NULL OR execution.partition = $4)
ORDER BY execution.created_ms DESC, execution.number DESC
LIMIT $3
