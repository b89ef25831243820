-- The whole of version 1. Each namespace has a schema of its own, which search_path leads to, so
-- that no key has to carry the namespace and one namespace is dropped, dumped or granted by itself.
--
-- Text ids are written once and looked up once: everything else hangs on `execution.number`. They
-- are compared by code points ("C"), whatever the database's collation is.

CREATE TABLE meta (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO meta (key, value) VALUES ('incarnation', '');

-- The fence. A row changes when a partition changes hands, and is locked by every commit meanwhile.
CREATE TABLE partition (
    id integer PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL
) WITH (fillfactor = 50);

-- What is renewed, apart from the fence: a renewal never waits for a commit.
CREATE TABLE lease (
    partition integer PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    expires timestamptz NOT NULL,
    incarnation text NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE member (
    owner text COLLATE "C" PRIMARY KEY,
    expires timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE execution_number AS bigint;

-- What stays the same while an execution runs its steps. Most of its changes are changes of
-- indexed columns, so that leaving room on its pages would save nothing.
CREATE TABLE execution (
    number bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    partition integer NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    definition text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    created_ms bigint NOT NULL,
    ended_ms bigint,
    incident text NOT NULL,
    labels jsonb NOT NULL,
    fingerprint text NOT NULL
);

-- `created_ms, number` is the order of all lists.
CREATE INDEX execution_active ON execution (partition, id) WHERE ended_ms IS NULL;
CREATE INDEX execution_newest ON execution (created_ms, number);
CREATE INDEX execution_status ON execution (status, created_ms, number);
CREATE INDEX execution_workflow ON execution (workflow, status, created_ms, number);
CREATE INDEX execution_incident ON execution (created_ms, number) WHERE incident <> '';
CREATE INDEX execution_ended ON execution (ended_ms, number) WHERE ended_ms IS NOT NULL;

-- What changes with every commit. Its rows are small and its pages half empty, so that a change
-- which moves no wake time stays on the page and writes no index.
CREATE TABLE progress (
    execution bigint PRIMARY KEY,
    partition integer NOT NULL,
    updated_ms bigint NOT NULL,
    wake_ms bigint,
    seq integer NOT NULL,
    snapshot integer NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX progress_due ON progress (partition, wake_ms, execution) WHERE wake_ms IS NOT NULL;

CREATE TABLE label (
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    created_ms bigint NOT NULL,
    execution bigint NOT NULL,
    PRIMARY KEY (name, value, created_ms, execution)
);

CREATE TABLE journal (
    execution bigint NOT NULL,
    seq integer NOT NULL,
    is_snapshot boolean NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (execution, seq)
);

-- Rows come and go within seconds: what is dead is cleared by count, not by share.
CREATE TABLE outbox (
    partition integer NOT NULL,
    number bigint NOT NULL,
    execution text COLLATE "C" NOT NULL,
    command bytea NOT NULL,
    PRIMARY KEY (partition, number)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE tombstone (
    id text COLLATE "C" PRIMARY KEY,
    partition integer NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    ended_ms bigint NOT NULL,
    fingerprint text NOT NULL
);

CREATE INDEX tombstone_ended ON tombstone (ended_ms, id);

CREATE TABLE definition (
    hash text COLLATE "C" PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    version text NOT NULL,
    body bytea NOT NULL,
    saved_ms bigint NOT NULL
);

CREATE TABLE current_definition (
    id text COLLATE "C" PRIMARY KEY,
    hash text COLLATE "C" NOT NULL
);

CREATE TABLE step (
    id text COLLATE "C" PRIMARY KEY,
    service text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    announced_ms bigint NOT NULL
);

CREATE TABLE pause (
    workflow text COLLATE "C" PRIMARY KEY,
    command text COLLATE "C" NOT NULL
);

-- One row: changes with definitions, steps and pauses.
CREATE TABLE revision (number bigint NOT NULL);
INSERT INTO revision (number) VALUES (0);

-- Ends a statement that must not write after all. One statement is one transaction, so that there
-- is no other way to undo what its first half has done.
CREATE FUNCTION refuse(reason text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RAISE EXCEPTION '%', reason USING ERRCODE = 'FL001';
END
$$;

-- For people: journals as text.
CREATE VIEW history AS
SELECT execution.id, journal.seq, journal.is_snapshot, convert_from(journal.record, 'UTF8') AS record
FROM execution JOIN journal ON journal.execution = execution.number;
