INSERT INTO progress (execution, partition, updated_ms, wake_ms, seq, snapshot)
VALUES (?, ?, ?, ?, ?, ?)
