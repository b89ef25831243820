UPDATE partition SET owner = ?, epoch = ? WHERE id = ?
