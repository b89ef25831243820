DELETE FROM journal WHERE execution = ?
