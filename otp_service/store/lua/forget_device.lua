-- Forget one device: none of its tokens is known from this moment.
--
-- KEYS[1]    devices     see _devices.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- ARGV[1]    JSON: offset, id, caller, life_ms, events (whether webhooks are told)
--
-- Returns JSON {verdict, …}
--   forgotten
--   not_found     no such device of this caller
--- include: _clock.lua
--- include: _devices.lua
--- include: _event.lua
--- include: _timeline.lua
--- include: _forget.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local device = devices(KEYS[1], now)[a.id]
if not device or device.caller ~= a.caller or device.reused_at then return cjson.encode({verdict = 'not_found'}) end
forget(KEYS[1], KEYS[2], KEYS[3], a, device, a.id, now)
return cjson.encode({verdict = 'forgotten'})
