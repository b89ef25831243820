SELECT created_ms, number FROM execution WHERE id = $1
