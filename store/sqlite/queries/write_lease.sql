INSERT INTO lease (partition, expires_ms) VALUES (?, ?)
ON CONFLICT (partition) DO UPDATE SET expires_ms = excluded.expires_ms
