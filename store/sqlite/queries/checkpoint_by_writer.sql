-- In pages. Rarer checkpoints are larger and cheaper: pages that changed often are copied once.
PRAGMA wal_autocheckpoint = 4000
