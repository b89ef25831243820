-- In the user's database, where the user's search_path leads to. Several workers may open at once.
SELECT pg_advisory_xact_lock(hashtextextended('flowmq inbox', 0));
CREATE TABLE IF NOT EXISTS flow_inbox (
    key text COLLATE "C" PRIMARY KEY,
    body bytea NOT NULL DEFAULT '',
    headers text NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS flow_inbox_at ON flow_inbox (at);
