-- Returns what it was, for setting it back: the handler's own statements are not our business.
SELECT current_setting('lock_timeout') AS before, set_config('lock_timeout', $1, true)
