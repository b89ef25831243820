SELECT owner FROM member ORDER BY owner
