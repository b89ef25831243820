SELECT
    EXISTS (SELECT FROM tombstone WHERE ended_ms < $2)
    OR EXISTS (
        SELECT FROM execution
        WHERE ended_ms < $1 AND id NOT IN (SELECT outbox.execution FROM outbox)
    )
