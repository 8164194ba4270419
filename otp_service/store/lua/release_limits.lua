-- Take back what one request charged, by its own id, because a later limit refused it.
--
-- KEYS       limits
-- ARGV[1]    member
--
-- Returns "released"
for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end
return 'released'
