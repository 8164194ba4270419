-- Store a new set of recovery codes; every older code is void.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- ARGV[1]    JSON: offset, codes (flat list of index and PHC string)
--
-- Returns JSON {verdict, …}
--   replaced      at
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(a.codes))
return cjson.encode({verdict = 'replaced', at = now_ms(a.offset)})
