WITH saved AS (
    INSERT INTO definition (hash, id, version, body, saved_ms) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (hash) DO NOTHING
),
pointed AS (
    INSERT INTO current_definition (id, hash) VALUES ($2, $1)
    ON CONFLICT (id) DO UPDATE SET hash = excluded.hash
    WHERE current_definition.hash <> excluded.hash
    RETURNING 1
)
UPDATE revision SET number = number + 1 WHERE EXISTS (SELECT FROM pointed)
