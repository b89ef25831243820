WITH gone AS (
    DELETE FROM pause WHERE workflow = $1 RETURNING 1
)
UPDATE revision SET number = number + 1 WHERE EXISTS (SELECT FROM gone)
