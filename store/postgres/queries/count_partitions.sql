SELECT count(*) FROM partition
