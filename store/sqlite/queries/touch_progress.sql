-- Names no column that an index has, so that no index is written.
UPDATE progress SET updated_ms = ?, seq = ?, snapshot = ? WHERE execution = ?
