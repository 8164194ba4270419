-- Put another text into a field of a hash, unless somebody has changed it since it was read.
--
-- KEYS[1]    any hash
-- ARGV[1]    JSON: field, was, becomes
--
-- Returns JSON {verdict}
--   replaced      it says what it should
--   changed       it says something else by now, or is gone: nothing written
local a = cjson.decode(ARGV[1])
if redis.call('HGET', KEYS[1], a.field) ~= a.was then return cjson.encode({verdict = 'changed'}) end
redis.call('HSET', KEYS[1], a.field, a.becomes)
return cjson.encode({verdict = 'replaced'})
