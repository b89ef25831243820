-- Of equal times, at most those that were just returned are passed over.
SELECT wake_ms
FROM progress
WHERE partition = ? AND wake_ms IS NOT NULL AND (wake_ms, execution) > (?, ?)
ORDER BY wake_ms, execution
LIMIT 1
