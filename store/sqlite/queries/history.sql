SELECT seq, record, is_snapshot
FROM journal
WHERE execution = (SELECT number FROM execution WHERE id = ?) AND seq > ?
ORDER BY seq
LIMIT ?
