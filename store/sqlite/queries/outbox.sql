SELECT partition, number, execution, command
FROM outbox
WHERE partition = ? AND number > ?
ORDER BY number
LIMIT ?
