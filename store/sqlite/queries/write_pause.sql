INSERT OR REPLACE INTO pause (workflow, command) VALUES (?, ?)
