SELECT id, service, hash, body, announced_ms FROM step ORDER BY id
