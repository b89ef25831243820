SELECT body, headers FROM flow_inbox WHERE key = $1
