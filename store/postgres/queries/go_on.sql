-- `commit.sql` for commits that write of executions no more than how they go on: a third of its plan,
-- which costs more to set up than a small commit costs to carry out.
WITH fence AS MATERIALIZED (
    SELECT partition.id
    FROM unnest($1::text::integer[], $2::text::text[], $3::text::bigint[])
        AS lease (id, owner, epoch)
    JOIN partition USING (id, owner, epoch)
    ORDER BY partition.id
    FOR SHARE OF partition
),
gone_on AS (
    UPDATE progress
    SET updated_ms = going.updated_ms, wake_ms = going.wake_ms, seq = going.seq,
        snapshot = CASE WHEN going.is_snapshot THEN going.seq ELSE progress.snapshot END
    FROM unnest(
        $10::text::bigint[], $11::text::integer[], $12::text::bigint[],
        $13::text::bigint[], $14::text::integer[],
        $15::bytea[], $16::text::boolean[]
    ) AS going (number, partition, updated_ms, wake_ms, seq, record, is_snapshot)
    WHERE progress.execution = going.number
        AND progress.seq = going.seq - 1
        AND going.partition = ANY (ARRAY(SELECT id FROM fence))
    RETURNING going.number, going.seq, going.is_snapshot, going.record
),
recorded AS (
    INSERT INTO journal (execution, seq, is_snapshot, record)
    SELECT number, seq, is_snapshot, record FROM gone_on
),
queued AS (
    INSERT INTO outbox (partition, number, execution, command)
    SELECT waiting.partition, waiting.number, waiting.execution, waiting.command
    FROM unnest($4::text::integer[], $5::text::bigint[], $6::text::text[], $7::bytea[])
        AS waiting (partition, number, execution, command)
    WHERE waiting.partition = ANY (ARRAY(SELECT id FROM fence))
),
settled AS (
    DELETE FROM outbox
    USING unnest($8::text::integer[], $9::text::bigint[]) AS done (partition, number)
    WHERE outbox.partition = done.partition
        AND outbox.number = done.number
        AND done.partition = ANY (ARRAY(SELECT id FROM fence))
)
SELECT
    ARRAY(SELECT id FROM fence) AS held,
    CASE
        WHEN (SELECT count(*) FROM gone_on) = (
            SELECT count(*) FROM unnest($11::text::integer[]) AS going (partition)
            WHERE going.partition = ANY (ARRAY(SELECT id FROM fence))
        ) THEN true
        ELSE refuse('an execution was changed at the same time')
    END AS is_whole
