-- Those that wake soon are few, and are sorted, and those that wait for longer are not looked at. A page
-- in the order of wake times would pass over what comes to wake sooner while pages are read.
SELECT execution.id
FROM progress CROSS JOIN execution ON execution.number = progress.execution
WHERE progress.partition = ? AND progress.wake_ms IS NOT NULL AND progress.wake_ms <= ?
    AND execution.ended_ms IS NULL AND execution.id > ?
ORDER BY execution.id
LIMIT ?
