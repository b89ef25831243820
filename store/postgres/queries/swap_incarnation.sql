UPDATE meta SET value = $2 WHERE key = 'incarnation' AND value = $1
