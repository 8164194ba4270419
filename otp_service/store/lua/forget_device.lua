-- Forget one device: none of its tokens is known from this moment.
--
-- KEYS[1]    devices     see _devices.lua
-- ARGV[1]    JSON: offset, id, caller
--
-- Returns JSON {verdict, …}
--   forgotten
--   not_found     no such device of this caller
--- include: _clock.lua
--- include: _devices.lua

local a = cjson.decode(ARGV[1])
local device = devices(KEYS[1], now_ms(a.offset))[a.id]
if not device or device.caller ~= a.caller or device.reused_at then return cjson.encode({verdict = 'not_found'}) end
redis.call('HDEL', KEYS[1], a.id)
return cjson.encode({verdict = 'forgotten'})
