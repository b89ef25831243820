SELECT current_definition.id, definition.hash, version, body, saved_ms
FROM current_definition JOIN definition ON definition.hash = current_definition.hash
WHERE $1 = '' OR current_definition.id = $1
ORDER BY current_definition.id
