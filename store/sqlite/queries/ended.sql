-- Whose messages are not out yet is not done, even if nothing else happens to it.
SELECT id
FROM execution
WHERE ended_ms < ? AND id NOT IN (SELECT execution FROM outbox)
ORDER BY ended_ms, number
LIMIT ?
