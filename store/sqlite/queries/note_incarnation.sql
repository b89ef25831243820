UPDATE partition SET incarnation = ? WHERE id = ? AND owner = ? AND epoch = ?
