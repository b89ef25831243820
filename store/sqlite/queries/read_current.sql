SELECT hash FROM current_definition WHERE id = ?
