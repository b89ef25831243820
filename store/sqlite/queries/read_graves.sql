SELECT id, partition FROM tombstone WHERE id IN (SELECT value FROM json_each(?))
