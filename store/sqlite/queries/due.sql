SELECT execution.id, progress.wake_ms, progress.execution
FROM progress CROSS JOIN execution ON execution.number = progress.execution
WHERE progress.partition = ? AND progress.wake_ms IS NOT NULL AND progress.wake_ms <= ?
ORDER BY progress.wake_ms, progress.execution
LIMIT ?
