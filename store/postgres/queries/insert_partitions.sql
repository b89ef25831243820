WITH given AS (
    SELECT generate_series(0, $1::integer - 1) AS id
),
owned AS (
    INSERT INTO partition (id, owner, epoch) SELECT id, '', 0 FROM given
)
INSERT INTO lease (partition, owner, epoch, expires, incarnation)
SELECT id, '', 0, '-infinity', '' FROM given
