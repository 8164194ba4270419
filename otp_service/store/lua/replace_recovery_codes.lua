-- Store a new set of recovery codes; every older code is void.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    factors     see _factors.lua
-- KEYS[3]    proof       with an existing factor, spent here; absent when none was shown
-- ARGV[1]    JSON: offset, codes (flat list of index and PHC string), proof_required
--
-- Returns JSON {verdict, …}
--   replaced      at
--   unproven      see _unproven.lua
--- include: _clock.lua
--- include: _factors.lua
--- include: _unproven.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if unproven(KEYS[3], a.proof_required, factors(KEYS[2], now), now) then
  return cjson.encode({verdict = 'unproven'})
end
redis.call('DEL', KEYS[1], KEYS[3] or KEYS[1])
redis.call('HSET', KEYS[1], unpack(a.codes))
return cjson.encode({verdict = 'replaced', at = now})
