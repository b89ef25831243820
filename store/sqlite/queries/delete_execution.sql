DELETE FROM execution WHERE number = ?
