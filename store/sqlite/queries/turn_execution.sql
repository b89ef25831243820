-- What changes in the course of an execution, so that the indexes of all else are left alone.
UPDATE execution SET status = ?, ended_ms = ?, incident = ? WHERE number = ?
