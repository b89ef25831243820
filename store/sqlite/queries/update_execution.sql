UPDATE execution SET
    partition = ?, workflow = ?, definition = ?, status = ?, created_ms = ?, ended_ms = ?,
    incident = ?, labels = ?
WHERE number = ?
