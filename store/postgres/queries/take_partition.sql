UPDATE partition SET owner = $2, epoch = $3 WHERE id = $1
