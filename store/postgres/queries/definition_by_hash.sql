SELECT id, hash, version, body, saved_ms FROM definition WHERE hash = $1
