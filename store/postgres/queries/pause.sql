WITH written AS (
    INSERT INTO pause (workflow, command) VALUES ($1, $2)
    ON CONFLICT (workflow) DO UPDATE SET command = excluded.command
    WHERE pause.command <> excluded.command
    RETURNING 1
)
UPDATE revision SET number = number + 1 WHERE EXISTS (SELECT FROM written)
