DELETE FROM pause WHERE workflow = ?
