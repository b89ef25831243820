UPDATE progress SET wake_ms = ? WHERE execution = (SELECT number FROM execution WHERE id = ?)
