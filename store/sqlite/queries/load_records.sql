SELECT journal.execution, journal.record
FROM execution
CROSS JOIN progress ON progress.execution = execution.number
CROSS JOIN journal ON journal.execution = execution.number AND journal.seq >= progress.snapshot
WHERE execution.id IN (SELECT value FROM json_each(?))
ORDER BY journal.execution, journal.seq
