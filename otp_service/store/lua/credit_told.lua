-- Whoever was to tell of low credit has told.
--
-- KEYS[1]    credit
-- ARGV[1]    JSON: offset
--
-- Returns JSON {verdict}
--   noted
if redis.call('HGET', KEYS[1], 'low') == '1' then redis.call('HSET', KEYS[1], 'told', 1) end
return cjson.encode({verdict = 'noted'})
