INSERT INTO label (name, value, created_ms, execution) VALUES (?, ?, ?, ?)
