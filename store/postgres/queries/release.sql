WITH fence AS MATERIALIZED (
    SELECT partition.id, partition.owner, partition.epoch
    FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS given (id, owner, epoch)
    JOIN partition USING (id, owner, epoch)
    ORDER BY partition.id
    FOR UPDATE OF partition
),
freed AS (
    UPDATE lease SET owner = '' FROM fence
    WHERE lease.partition = fence.id AND lease.owner = fence.owner AND lease.epoch = fence.epoch
)
UPDATE partition SET owner = '' FROM fence WHERE partition.id = fence.id
