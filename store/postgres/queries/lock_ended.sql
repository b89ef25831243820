-- What somebody is writing at this moment is passed over.
SELECT execution.number
FROM execution JOIN progress ON progress.execution = execution.number
WHERE execution.ended_ms < $1
    AND execution.id NOT IN (SELECT outbox.execution FROM outbox)
ORDER BY execution.ended_ms, execution.number
LIMIT $2
FOR UPDATE SKIP LOCKED
