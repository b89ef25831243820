-- Tables that this user cannot read and write.
SELECT relname
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace
    AND relkind = 'r'
    AND NOT has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE')
ORDER BY relname
