-- Waits until a commit under an older epoch has ended, if one is under way.
SELECT epoch FROM partition WHERE id = $1 FOR UPDATE
