-- A whole group commit: one statement, one round trip, one transaction, one fsync.
--
-- Statements that change data run whether or not a fence finds anything. So every row that is
-- written carries its partition, and is looked up in `fence`, whose locks keep the owners of the
-- partitions from changing until the end. A conflict stops all writing; see `conflict`.
--
-- Columns come as texts, which cost the driver less than arrays; see `literals`.
--
-- Executions are given in two ways: all that is to be known of them, or, if they only go on and the
-- writer knows their numbers, what changes. `go_on.sql` is this statement without the first.
WITH fence AS MATERIALIZED (
    SELECT partition.id
    FROM unnest($1::text::integer[], $2::text::text[], $3::text::bigint[])
        AS lease (id, owner, epoch)
    JOIN partition USING (id, owner, epoch)
    ORDER BY partition.id
    FOR SHARE OF partition
),
known AS MATERIALIZED (
    SELECT
        given.id, given.partition, given.workflow, given.definition, given.status,
        given.created_ms, given.updated_ms, given.ended_ms, given.wake_ms, given.incident,
        given.labels::jsonb AS labels, given.fingerprint, given.seq, given.record,
        given.is_snapshot,
        execution.number IS NULL AS is_new,
        coalesce(execution.number, nextval('execution_number')) AS number,
        coalesce(progress.seq, 0) AS last_seq,
        tombstone.id IS NOT NULL AS was_pruned,
        execution.ctid AS execution_ctid,
        progress.ctid AS progress_ctid,
        execution.labels AS old_labels,
        execution.created_ms AS old_created_ms,
        given.labels <> '{}' OR execution.labels <> '{}' AS has_labels,
        (
            execution.partition, execution.workflow, execution.definition, execution.status,
            execution.created_ms, execution.ended_ms, execution.incident, execution.labels,
            execution.fingerprint
        ) IS DISTINCT FROM (
            given.partition, given.workflow, given.definition, given.status,
            given.created_ms, given.ended_ms, given.incident, given.labels::jsonb,
            given.fingerprint
        ) AS is_changed
    FROM unnest(
        $4::text::text[], $5::text::integer[], $6::text::text[],
        $7::text::text[], $8::text::text[], $9::text::bigint[],
        $10::text::bigint[], $11::text::bigint[], $12::text::bigint[],
        $13::text::text[], $14::text::text[], $15::text::text[],
        $16::text::integer[], $17::bytea[], $18::text::boolean[]
    ) AS given (
        id, partition, workflow, definition, status, created_ms,
        updated_ms, ended_ms, wake_ms, incident, labels, fingerprint,
        seq, record, is_snapshot
    )
    LEFT JOIN execution ON execution.id = given.id
    LEFT JOIN progress ON progress.execution = execution.number
    -- Nothing equals NULL: nobody looks for the tombstone of an execution that is there.
    LEFT JOIN tombstone ON tombstone.id = CASE WHEN execution.number IS NULL THEN given.id END
    WHERE given.partition = ANY (ARRAY(SELECT id FROM fence))
),
-- Somebody else has written this record, or it is not the next one; or the execution was pruned,
-- and cannot begin once more; or it is there twice ($19).
conflict AS MATERIALIZED (
    SELECT DISTINCT known.id
    FROM known
    WHERE known.seq <> known.last_seq + 1
        OR known.id = ANY ($19::text[])
        OR known.was_pruned
),
sound AS MATERIALIZED (
    SELECT fence.id FROM fence WHERE NOT EXISTS (SELECT FROM conflict)
),
-- What the commit only names by the execution's id.
named AS MATERIALIZED (
    SELECT execution.number, execution.partition, waking.wake_ms
    FROM unnest($26::text::text[], $27::text::bigint[]) AS waking (id, wake_ms)
    JOIN execution ON execution.id = waking.id
),
inserted AS (
    INSERT INTO execution (
        number, id, partition, workflow, definition, status, created_ms, ended_ms, incident,
        labels, fingerprint
    )
    SELECT
        number, id, partition, workflow, definition, status, created_ms, ended_ms, incident,
        labels, fingerprint
    FROM known
    WHERE is_new AND EXISTS (SELECT FROM sound)
),
updated AS (
    UPDATE execution
    SET partition = known.partition, workflow = known.workflow,
        definition = known.definition, status = known.status, created_ms = known.created_ms,
        ended_ms = known.ended_ms, incident = known.incident, labels = known.labels,
        fingerprint = known.fingerprint
    FROM known
    WHERE execution.ctid = known.execution_ctid
        AND execution.number = known.number
        AND known.is_changed
        AND NOT known.is_new
        AND EXISTS (SELECT FROM sound)
),
begun AS (
    INSERT INTO progress (execution, partition, updated_ms, wake_ms, seq, snapshot)
    SELECT number, partition, updated_ms, wake_ms, seq, seq
    FROM known
    WHERE is_new AND EXISTS (SELECT FROM sound)
),
moved AS (
    UPDATE progress
    SET updated_ms = known.updated_ms, wake_ms = known.wake_ms, seq = known.seq,
        snapshot = CASE WHEN known.is_snapshot THEN known.seq ELSE progress.snapshot END
    FROM known
    WHERE progress.ctid = known.progress_ctid
        AND progress.execution = known.number
        AND progress.seq = known.last_seq
        AND NOT known.is_new
        AND EXISTS (SELECT FROM sound)
    RETURNING 1
),
gone_on AS (
    UPDATE progress
    SET updated_ms = going.updated_ms, wake_ms = going.wake_ms, seq = going.seq,
        snapshot = CASE WHEN going.is_snapshot THEN going.seq ELSE progress.snapshot END
    FROM unnest(
        $28::text::bigint[], $29::text::integer[], $30::text::bigint[],
        $31::text::bigint[], $32::text::integer[],
        $33::bytea[], $34::text::boolean[]
    ) AS going (number, partition, updated_ms, wake_ms, seq, record, is_snapshot)
    WHERE progress.execution = going.number
        AND progress.seq = going.seq - 1
        AND going.partition = ANY (ARRAY(SELECT id FROM sound))
    RETURNING going.number, going.seq, going.is_snapshot, going.record
),
recorded AS (
    INSERT INTO journal (execution, seq, is_snapshot, record)
    SELECT number, seq, is_snapshot, record FROM known WHERE EXISTS (SELECT FROM sound)
    UNION ALL
    SELECT number, seq, is_snapshot, record FROM gone_on
),
-- All four columns of the key come from one place, so that the index is searched by all of them.
stale AS MATERIALIZED (
    SELECT old.key, old.value, known.old_created_ms, known.number
    FROM known, jsonb_each_text(known.old_labels) AS old
    WHERE known.has_labels
        AND known.is_changed
        AND NOT known.is_new
        AND EXISTS (SELECT FROM sound)
        AND NOT (
            known.created_ms = known.old_created_ms
            AND known.labels @> jsonb_build_object(old.key, old.value)
        )
),
unlabelled AS (
    DELETE FROM label
    USING stale
    WHERE label.name = stale.key
        AND label.value = stale.value
        AND label.created_ms = stale.old_created_ms
        AND label.execution = stale.number
),
labelled AS (
    INSERT INTO label (name, value, created_ms, execution)
    SELECT new.key, new.value, known.created_ms, known.number
    FROM known, jsonb_each_text(known.labels) AS new
    WHERE known.has_labels
        AND known.is_changed
        AND EXISTS (SELECT FROM sound)
        AND (
            known.is_new
            OR known.created_ms <> known.old_created_ms
            OR NOT known.old_labels @> jsonb_build_object(new.key, new.value)
        )
),
woken AS (
    UPDATE progress
    SET wake_ms = named.wake_ms
    FROM named
    WHERE progress.execution = named.number AND named.partition = ANY (ARRAY(SELECT id FROM sound))
),
queued AS (
    INSERT INTO outbox (partition, number, execution, command)
    SELECT waiting.partition, waiting.number, waiting.execution, waiting.command
    FROM unnest($20::text::integer[], $21::text::bigint[], $22::text::text[], $23::bytea[])
        AS waiting (partition, number, execution, command)
    WHERE waiting.partition = ANY (ARRAY(SELECT id FROM sound))
),
settled AS (
    DELETE FROM outbox
    USING unnest($24::text::integer[], $25::text::bigint[]) AS done (partition, number)
    WHERE outbox.partition = done.partition
        AND outbox.number = done.number
        AND done.partition = ANY (ARRAY(SELECT id FROM sound))
)
SELECT
    ARRAY(SELECT id FROM fence) AS held,
    ARRAY(SELECT id FROM conflict) AS conflicts,
    ARRAY(SELECT DISTINCT partition FROM named) AS homes,
    ARRAY(SELECT id FROM known WHERE ended_ms IS NULL) AS ids,
    ARRAY(SELECT number FROM known WHERE ended_ms IS NULL) AS numbers,
    CASE
        WHEN EXISTS (SELECT FROM conflict) THEN true
        -- An execution that was pruned by somebody a moment ago is still seen, but not moved.
        WHEN (SELECT count(*) FROM moved) = (SELECT count(*) FROM known WHERE NOT is_new)
            AND (SELECT count(*) FROM gone_on) = (
                SELECT count(*) FROM unnest($29::text::integer[]) AS going (partition)
                WHERE going.partition = ANY (ARRAY(SELECT id FROM fence))
            ) THEN true
        ELSE refuse('an execution was changed at the same time')
    END AS is_whole
