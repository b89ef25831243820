SELECT id
FROM execution
WHERE partition = ? AND ended_ms IS NULL AND id > ?
ORDER BY id
LIMIT ?
