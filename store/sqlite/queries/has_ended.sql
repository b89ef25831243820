SELECT EXISTS (
    SELECT 1 FROM execution
    WHERE ended_ms < ? AND id NOT IN (SELECT execution FROM outbox)
)
