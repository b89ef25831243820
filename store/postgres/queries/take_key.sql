-- Waits for another transaction that has taken the same key, until that one ends.
INSERT INTO flow_inbox (key) VALUES ($1) ON CONFLICT (key) DO NOTHING RETURNING key
