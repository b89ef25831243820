SELECT to_regclass('flow_inbox') IS NOT NULL
