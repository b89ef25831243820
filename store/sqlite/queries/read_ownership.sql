SELECT partition.owner, partition.epoch, coalesce(lease.expires_ms, 0)
FROM partition LEFT JOIN lease ON lease.partition = partition.id
WHERE partition.id = ?
