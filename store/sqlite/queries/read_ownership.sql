SELECT partition.owner, partition.epoch, partition.incarnation, coalesce(lease.expires_ms, 0)
FROM partition LEFT JOIN lease ON lease.partition = partition.id
WHERE partition.id = ?
