-- In KiB when negative: 32 MiB, enough for the pages that a busy namespace keeps changing.
PRAGMA cache_size = -32768
