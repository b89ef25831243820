SELECT id FROM execution
WHERE partition = $1 AND ended_ms IS NULL AND id > $2
ORDER BY id
LIMIT $3
