WITH gone AS (
    DELETE FROM step WHERE id = $1 RETURNING 1
),
bumped AS (
    UPDATE revision SET number = number + 1 WHERE EXISTS (SELECT FROM gone)
)
SELECT EXISTS (SELECT FROM gone)
