-- Of several processes that open a new namespace, one makes it and the others wait. To rebuild a
-- large table may take longer than anything else.
SELECT set_config('statement_timeout', '600s', true), set_config('lock_timeout', '600s', true);
SELECT pg_advisory_xact_lock(hashtextextended('flowmq ' || current_setting('search_path'), 0));
