SELECT
    current_setting('server_version') AS version,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standbys,
    current_setting('max_connections')::integer AS max_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer
        AS connections,
    pg_is_in_recovery() AS is_standby,
    pg_backend_pid() AS pid,
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
    (
        SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
    ) AS size,
    current_schema() AS schema
