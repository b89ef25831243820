-- Deletes executions of the partitions $2, and what is left of those that were pruned.
WITH gone AS MATERIALIZED (
    SELECT number, id, partition, created_ms, labels
    FROM execution
    WHERE id = ANY ($1::text[]) AND partition = ANY ($2::integer[])
),
stale AS MATERIALIZED (
    SELECT old.key, old.value, gone.created_ms, gone.number
    FROM gone, jsonb_each_text(gone.labels) AS old
),
unlabelled AS (
    DELETE FROM label
    USING stale
    WHERE label.name = stale.key
        AND label.value = stale.value
        AND label.created_ms = stale.created_ms
        AND label.execution = stale.number
),
unrecorded AS (
    DELETE FROM journal USING gone WHERE journal.execution = gone.number
),
unmoved AS (
    DELETE FROM progress USING gone WHERE progress.execution = gone.number
),
unqueued AS (
    DELETE FROM outbox USING gone
    WHERE outbox.partition = gone.partition AND outbox.execution = gone.id
),
unburied AS (
    DELETE FROM tombstone WHERE id = ANY ($1::text[]) AND partition = ANY ($2::integer[])
)
DELETE FROM execution USING gone WHERE execution.number = gone.number
