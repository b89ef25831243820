UPDATE partition SET owner = '' WHERE id = ? AND owner = ? AND epoch = ?
