DELETE FROM step WHERE id = ?
