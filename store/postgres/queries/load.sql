SELECT
    wanted.id, execution.number, progress.seq,
    ARRAY(
        SELECT journal.record FROM journal
        WHERE journal.execution = execution.number AND journal.seq >= progress.snapshot
        ORDER BY journal.seq
    ) AS records,
    execution.partition, execution.workflow, execution.definition, execution.status,
    execution.created_ms, progress.updated_ms, execution.ended_ms, progress.wake_ms,
    execution.incident, execution.labels::text AS labels, execution.fingerprint,
    tombstone.workflow AS old_workflow, tombstone.status AS old_status,
    tombstone.ended_ms AS old_ended_ms, tombstone.fingerprint AS old_fingerprint
FROM unnest($1::text[]) AS wanted (id)
LEFT JOIN execution ON execution.id = wanted.id
LEFT JOIN progress ON progress.execution = execution.number
LEFT JOIN tombstone ON tombstone.id = wanted.id
WHERE execution.number IS NOT NULL OR tombstone.id IS NOT NULL
