-- The remembered devices of one subject, but for those of which a token was copied.
--
-- KEYS[1]    devices     see _devices.lua
-- ARGV[1]    JSON: offset
--
-- Returns JSON {verdict, …}
--   found         devices: id to fields
--- include: _clock.lua
--- include: _devices.lua

local a = cjson.decode(ARGV[1])
local good = {}
for id, device in pairs(devices(KEYS[1], now_ms(a.offset))) do
  if not device.reused_at then good[id] = device end
end
return cjson.encode({verdict = 'found', devices = good})
