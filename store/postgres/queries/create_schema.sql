-- The name stands in search_path, quoted; a parameter cannot be a name.
DO $$
BEGIN
    EXECUTE 'CREATE SCHEMA IF NOT EXISTS ' || current_setting('search_path');
END
$$
