SELECT command FROM pause WHERE workflow = ?
