-- No row is the answer when another service has announced the step at the same time.
WITH written AS (
    INSERT INTO step (id, service, hash, body, announced_ms) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE
    SET hash = excluded.hash, body = excluded.body, announced_ms = excluded.announced_ms
    WHERE step.service = excluded.service AND step.hash <> excluded.hash
    RETURNING id, service, hash, body, announced_ms
),
bumped AS (
    UPDATE revision SET number = number + 1 WHERE EXISTS (SELECT FROM written)
)
SELECT id, service, hash, body, announced_ms FROM written
UNION ALL
SELECT id, service, hash, body, announced_ms FROM step
WHERE id = $1 AND NOT EXISTS (SELECT FROM written)
