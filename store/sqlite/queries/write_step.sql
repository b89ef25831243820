INSERT OR REPLACE INTO step (id, service, hash, body, announced_ms) VALUES (?, ?, ?, ?, ?)
