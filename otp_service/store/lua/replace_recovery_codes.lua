-- Store a new set of recovery codes; every older code is void.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- KEYS[4]    factors     see _factors.lua
-- KEYS[5]    proof       with an existing factor, spent here; absent when none was shown
-- ARGV[1]    JSON: offset, codes (flat list of index and PHC string), life_ms, event (see _event.lua), proof_required
--
-- Returns JSON {verdict, …}
--   replaced      at
--   unproven      see _unproven.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _event.lua
--- include: _factors.lua
--- include: _timeline.lua
--- include: _proof.lua
--- include: _unproven.lua

local a = cjson.decode(ARGV[1])
local now, count = now_ms(a.offset), #a.codes / 2
if unproven(KEYS[5], a.proof_required, factors(KEYS[4], now), a, now) then
  return cjson.encode({verdict = 'unproven'})
end
redis.call('DEL', KEYS[1], KEYS[5] or KEYS[1])
redis.call('HSET', KEYS[1], unpack(a.codes))
begin(KEYS[2], now, a.life_ms, line(now, 'issued', '-', 'factor=recovery', 'remaining=' .. count))
tell_of_subject(KEYS[3], a.event, 'recovery_codes.issued', now, 'remaining', count)
return cjson.encode({verdict = 'replaced', at = now})
