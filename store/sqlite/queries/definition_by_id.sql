SELECT current_definition.id, definition.hash, version, body, saved_ms
FROM current_definition JOIN definition ON definition.hash = current_definition.hash
WHERE current_definition.id = ?
