-- One row more than is wanted tells when the next one is due.
SELECT execution.id, progress.wake_ms
FROM progress JOIN execution ON execution.number = progress.execution
WHERE progress.partition = $1 AND progress.wake_ms IS NOT NULL
ORDER BY progress.wake_ms, progress.execution
LIMIT $2
