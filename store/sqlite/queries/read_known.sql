SELECT
    number, seq, snapshot,
    id, execution.partition, workflow, definition, status, created_ms, updated_ms, ended_ms,
    wake_ms, incident, labels, fingerprint
FROM execution CROSS JOIN progress ON progress.execution = execution.number
WHERE id IN (SELECT value FROM json_each(?))
