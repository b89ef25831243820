DELETE FROM outbox
USING unnest($1::text::integer[], $2::text::bigint[]) AS done (partition, number)
WHERE outbox.partition = done.partition
    AND outbox.number = done.number
    AND done.partition = ANY ($3::integer[])
