INSERT INTO execution (
    number, id, partition, workflow, definition, status, created_ms, ended_ms, incident, labels,
    fingerprint
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
