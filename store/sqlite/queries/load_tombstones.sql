SELECT id, workflow, status, ended_ms, fingerprint
FROM tombstone
WHERE id IN (SELECT value FROM json_each(?))
