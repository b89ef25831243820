INSERT INTO definition (hash, id, version, body, saved_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (hash) DO NOTHING
