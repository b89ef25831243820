SELECT EXISTS (SELECT 1 FROM tombstone WHERE ended_ms < ?)
