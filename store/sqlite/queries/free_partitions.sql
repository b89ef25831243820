SELECT partition.id
FROM partition LEFT JOIN lease ON lease.partition = partition.id
WHERE partition.owner IN ('', ?) OR coalesce(lease.expires_ms, 0) <= ?
