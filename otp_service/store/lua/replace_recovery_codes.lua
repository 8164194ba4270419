-- Store a new set of recovery codes; every older code is void.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- ARGV[1]    JSON: offset, codes (flat list of index and PHC string), life_ms, event (see _event.lua)
--
-- Returns JSON {verdict, …}
--   replaced      at
--- include: _clock.lua
--- include: _event.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now, count = now_ms(a.offset), #a.codes / 2
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(a.codes))
begin(KEYS[2], now, a.life_ms, line(now, 'issued', '-', 'factor=recovery', 'remaining=' .. count))
tell_of_subject(KEYS[3], a.event, 'recovery_codes.issued', now, 'remaining', count)
return cjson.encode({verdict = 'replaced', at = now})
