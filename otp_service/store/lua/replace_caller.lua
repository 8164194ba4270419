-- Replace a caller's record, if it still is what the change was made of: of two changes at once one is refused, so that
-- neither brings back what the other has revoked.
--
-- KEYS[1]    record      text
-- ARGV[1]    JSON: read (the text as it was read), changed (the text that is to be)
--
-- Returns 1, or 0 when somebody else was first

local a = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= a.read then return 0 end
redis.call('SET', KEYS[1], a.changed)
return 1
