-- A tombstone has `null` for headers. Waits for another transaction that has taken the key.
INSERT INTO flow_inbox (key, headers) VALUES ($1, 'null')
ON CONFLICT (key) DO UPDATE SET body = '', headers = 'null', at = clock_timestamp()
