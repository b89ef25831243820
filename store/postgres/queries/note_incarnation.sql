UPDATE lease
SET incarnation = $4
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS given (partition, owner, epoch)
WHERE lease.partition = given.partition
    AND lease.owner = given.owner
    AND lease.epoch = given.epoch
    AND given.owner <> ''
