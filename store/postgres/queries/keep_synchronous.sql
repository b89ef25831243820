-- What a role or a database may have turned off is turned on again: an answered commit stays.
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
