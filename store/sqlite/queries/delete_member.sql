DELETE FROM member WHERE owner = ?
