DELETE FROM current_definition WHERE id = ?
