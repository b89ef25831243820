SELECT seq, record, is_snapshot FROM journal
WHERE execution = (SELECT number FROM execution WHERE id = $1) AND seq > $2
ORDER BY seq
LIMIT $3
