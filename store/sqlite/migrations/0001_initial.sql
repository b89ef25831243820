-- The whole of version 1. Only one process writes, so that numbers can be given out in order.
--
-- Text ids are written once and looked up once: everything else hangs on `execution.number`.
-- The journal is a plain table with an index beside it, because records of many executions that
-- are committed together then lie on the same pages (two to three times the rows per second of a
-- table that is clustered by execution).
BEGIN IMMEDIATE;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE partition (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL
);

CREATE TABLE lease (
    partition INTEGER PRIMARY KEY,
    expires_ms INTEGER NOT NULL
);

-- What stays the same while an execution runs its steps.
CREATE TABLE execution (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    definition TEXT NOT NULL,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    incident TEXT NOT NULL,
    labels TEXT NOT NULL
);

-- An index on `created_ms` is one on `(created_ms, number)`: the order of all lists.
CREATE INDEX execution_active ON execution (partition, id) WHERE ended_ms IS NULL;
CREATE INDEX execution_newest ON execution (created_ms);
CREATE INDEX execution_status ON execution (status, created_ms);
CREATE INDEX execution_workflow ON execution (workflow, status, created_ms);
CREATE INDEX execution_incident ON execution (created_ms) WHERE incident <> '';

-- What changes with every commit. Its rows are small, so that many of them share a page and a
-- commit that touches many executions writes few pages.
CREATE TABLE progress (
    execution INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    wake_ms INTEGER,
    seq INTEGER NOT NULL,
    snapshot INTEGER NOT NULL
);

CREATE INDEX progress_due ON progress (partition, wake_ms) WHERE wake_ms IS NOT NULL;

CREATE TABLE label (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    PRIMARY KEY (name, value, created_ms, execution)
) WITHOUT ROWID;

CREATE TABLE journal (
    execution INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    is_snapshot INTEGER NOT NULL,
    record BLOB NOT NULL
);

CREATE UNIQUE INDEX journal_key ON journal (execution, seq);

CREATE TABLE outbox (
    partition INTEGER NOT NULL,
    number INTEGER NOT NULL,
    execution TEXT NOT NULL,
    command BLOB NOT NULL,
    PRIMARY KEY (partition, number)
) WITHOUT ROWID;

CREATE TABLE definition (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    body BLOB NOT NULL,
    saved_ms INTEGER NOT NULL
);

CREATE TABLE current_definition (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL
) WITHOUT ROWID;

-- "flow" in ASCII: how a file of ours is told from another program's.
PRAGMA application_id = 1718382455;
PRAGMA user_version = 1;

COMMIT;
