SELECT workflow, command FROM pause
