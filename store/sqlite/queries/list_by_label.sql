-- One label leads through its index, newest first, and what it finds must have the others as well.
SELECT
    execution.created_ms, execution.number,
    execution.id, execution.partition, execution.workflow, execution.definition,
    execution.status, execution.created_ms, progress.updated_ms, execution.ended_ms,
    progress.wake_ms, execution.incident, execution.labels,
    execution.fingerprint
FROM label
CROSS JOIN execution ON execution.number = label.execution
CROSS JOIN progress ON progress.execution = label.execution
WHERE label.name = :name
    AND label.value = :value
    AND (label.created_ms, label.execution) < (:before_ms, :before_number)
    AND (:partition IS NULL OR execution.partition = :partition)
    AND (:workflow = '' OR execution.workflow = :workflow)
    AND (NOT :incidents OR execution.incident <> '')
    AND execution.status IN (SELECT value FROM json_each(:statuses))
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS wanted
        WHERE NOT EXISTS (
            SELECT 1 FROM label AS other
            WHERE other.name = wanted.key
                AND other.value = wanted.value
                AND other.created_ms = label.created_ms
                AND other.execution = label.execution
        )
    )
ORDER BY label.created_ms DESC, label.execution DESC
LIMIT :limit
