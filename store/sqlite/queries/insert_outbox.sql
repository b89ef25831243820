INSERT INTO outbox (partition, number, execution, command) VALUES (?, ?, ?, ?)
