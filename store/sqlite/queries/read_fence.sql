SELECT id, owner, epoch FROM partition
