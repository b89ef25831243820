-- Members, incarnations, the catalogue, pauses, and what is left of executions that were pruned.
BEGIN IMMEDIATE;

ALTER TABLE partition ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
ALTER TABLE execution ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';

-- For pruning, which takes what ended first.
CREATE INDEX execution_ended ON execution (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE tombstone (
    id TEXT PRIMARY KEY,
    partition INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    ended_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX tombstone_ended ON tombstone (ended_ms, id);

CREATE TABLE member (
    owner TEXT PRIMARY KEY,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE step (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    hash TEXT NOT NULL,
    body BLOB NOT NULL,
    announced_ms INTEGER NOT NULL
);

CREATE TABLE pause (
    workflow TEXT PRIMARY KEY,
    command TEXT NOT NULL
) WITHOUT ROWID;

-- One row: changes with definitions, steps and pauses.
CREATE TABLE revision (number INTEGER NOT NULL);
INSERT INTO revision (number) VALUES (0);

PRAGMA user_version = 2;

COMMIT;
