INSERT INTO current_definition (id, hash) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET hash = excluded.hash
