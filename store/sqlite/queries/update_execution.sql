UPDATE execution SET
    partition = ?, workflow = ?, definition = ?, status = ?, created_ms = ?, ended_ms = ?,
    incident = ?, labels = ?, fingerprint = ?
WHERE number = ?
