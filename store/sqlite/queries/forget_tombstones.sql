DELETE FROM tombstone
WHERE id IN (SELECT id FROM tombstone WHERE ended_ms < ? ORDER BY ended_ms, id LIMIT ?)
