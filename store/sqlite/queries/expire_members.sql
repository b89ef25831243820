DELETE FROM member WHERE expires_ms <= ? AND owner <> ?
