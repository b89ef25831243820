INSERT INTO partition (id, owner, epoch) VALUES (?, '', 0)
