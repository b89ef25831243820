DELETE FROM member WHERE owner = $1
