SELECT
    id, number, seq, snapshot, wake_ms,
    execution.partition, workflow, definition, status, created_ms, ended_ms, incident, labels, fingerprint
FROM execution CROSS JOIN progress ON progress.execution = execution.number
WHERE id IN (SELECT value FROM json_each(?))
