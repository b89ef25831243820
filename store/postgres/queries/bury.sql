-- Makes tombstones of executions that `lock_ended` has locked. It is a statement of its own, so
-- that it sees what was committed before the locks were there.
WITH gone AS MATERIALIZED (
    SELECT number, id, partition, workflow, status, created_ms, ended_ms, labels, fingerprint
    FROM execution
    WHERE number = ANY ($1::bigint[]) AND id NOT IN (SELECT outbox.execution FROM outbox)
),
buried AS (
    INSERT INTO tombstone (id, partition, workflow, status, ended_ms, fingerprint)
    SELECT id, partition, workflow, status, ended_ms, fingerprint FROM gone
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
removed AS (
    DELETE FROM execution USING gone WHERE execution.number = gone.number RETURNING 1
)
SELECT count(*) FROM removed
