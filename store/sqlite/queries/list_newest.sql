SELECT
    created_ms, number,
    id, execution.partition, workflow, definition, status, created_ms, updated_ms, ended_ms,
    wake_ms, incident, labels, fingerprint
FROM execution CROSS JOIN progress ON progress.execution = execution.number
WHERE (:partition IS NULL OR execution.partition = :partition)
    AND (created_ms, number) < (:before_ms, :before_number)
ORDER BY created_ms DESC, number DESC
LIMIT :limit
