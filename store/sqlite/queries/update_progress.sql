UPDATE progress SET updated_ms = ?, wake_ms = ?, seq = ?, snapshot = ? WHERE execution = ?
