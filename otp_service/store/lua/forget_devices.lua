-- Forget all devices of one subject.
--
-- KEYS[1]    devices     see _devices.lua
-- ARGV[1]    JSON: offset
--
-- Returns JSON {verdict, …}
--   forgotten     count: how many there were
--- include: _clock.lua
--- include: _devices.lua

local a = cjson.decode(ARGV[1])
local count = 0
for _, device in pairs(devices(KEYS[1], now_ms(a.offset))) do
  if not device.reused_at then count = count + 1 end
end
redis.call('DEL', KEYS[1])
return cjson.encode({verdict = 'forgotten', count = count})
