DELETE FROM progress WHERE execution = ?
