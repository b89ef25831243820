-- One pass over what waits in a partition serves all deletes of a commit, so that rows, which come
-- and go by the thousand, need no index by execution.
DELETE FROM outbox
WHERE partition = ? AND execution IN (SELECT value FROM json_each(?))
