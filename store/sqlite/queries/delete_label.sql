DELETE FROM label WHERE name = ? AND value = ? AND created_ms = ? AND execution = ?
