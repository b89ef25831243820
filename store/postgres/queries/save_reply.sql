UPDATE flow_inbox SET body = $2, headers = $3 WHERE key = $1
