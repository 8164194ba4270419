-- Rename or remove a factor. With a confirmed one all remembered devices of the subject go: they stood in for it.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    devices     see _devices.lua
-- KEYS[3]    timeline    see _timeline.lua
-- KEYS[4]    events      stream, see _event.lua
-- KEYS[5]    proof       with an existing factor, spent by a removal; absent when none was shown
-- ARGV[1]    JSON: offset, id, caller, name (the new one; absent to remove), proof_required (to remove a confirmed one),
--            life_ms, events (whether webhooks are told)
--
-- Returns JSON {verdict, …}
--   changed       factor: its fields as they are now, or were
--   unproven      see _unproven.lua
--   not_found     no such factor of this caller
--- include: _clock.lua
--- include: _fence.lua
--- include: _devices.lua
--- include: _event.lua
--- include: _factors.lua
--- include: _proof.lua
--- include: _unproven.lua
--- include: _timeline.lua
--- include: _forget.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local factor = factors(KEYS[1], now)[a.id]
if not factor or factor.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
if a.name then
  factor.name = a.name
  redis.call('HSET', KEYS[1], a.id, cjson.encode(factor))
else
  if unproven(KEYS[5], a.proof_required, {factor}, a, now) then return cjson.encode({verdict = 'unproven'}) end
  if KEYS[5] then redis.call('DEL', KEYS[5]) end
  redis.call('HDEL', KEYS[1], a.id)
  keep(KEYS[1], now)
  begin(KEYS[3], now, a.life_ms, line(now, 'removed', a.id, 'factor=' .. factor.type))
  tell_of_factor(KEYS[4], a.events, factor, a.id, 'factor.removed', now)
  if factor.status == 'confirmed' then forget_all(KEYS[2], KEYS[3], KEYS[4], a, now) end
end
return cjson.encode({verdict = 'changed', factor = factor})
