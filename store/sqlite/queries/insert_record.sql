INSERT INTO journal (execution, seq, is_snapshot, record) VALUES (?, ?, ?, ?)
