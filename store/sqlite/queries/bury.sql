INSERT INTO tombstone (id, partition, workflow, status, ended_ms, fingerprint)
SELECT id, partition, workflow, status, ended_ms, fingerprint
FROM execution
WHERE id IN (SELECT value FROM json_each(?))
