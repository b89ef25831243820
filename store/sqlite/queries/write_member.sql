INSERT INTO member (owner, expires_ms) VALUES (?, ?)
ON CONFLICT (owner) DO UPDATE SET expires_ms = excluded.expires_ms
