-- Those that wake soon are few, and are sorted; those that wait for longer are not looked at. A page
-- in the order of wake times would pass over what comes to wake sooner while pages are read. The
-- planner takes each id to be cheap to filter, and would walk all of them: OFFSET 0 forbids that.
WITH soon AS MATERIALIZED (
    SELECT execution FROM progress
    WHERE partition = $1 AND wake_ms IS NOT NULL AND wake_ms <= $2
)
SELECT found.id
FROM soon CROSS JOIN LATERAL (
    SELECT id, ended_ms FROM execution WHERE number = soon.execution OFFSET 0
) AS found
WHERE found.ended_ms IS NULL AND found.id > $3
ORDER BY found.id
LIMIT $4
