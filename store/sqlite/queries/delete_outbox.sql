DELETE FROM outbox WHERE partition = ? AND number = ?
