SELECT partition, number, execution, command FROM outbox
WHERE partition = $1 AND number > $2
ORDER BY number
LIMIT $3
