-- Forget all devices of one subject.
--
-- KEYS[1]    devices     see _devices.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- ARGV[1]    JSON: offset, life_ms, events (whether webhooks are told)
--
-- Returns JSON {verdict, …}
--   forgotten     count: how many there were
--- include: _clock.lua
--- include: _devices.lua
--- include: _event.lua
--- include: _timeline.lua
--- include: _forget.lua

local a = cjson.decode(ARGV[1])
local count = forget_all(KEYS[1], KEYS[2], KEYS[3], a, now_ms(a.offset))
return cjson.encode({verdict = 'forgotten', count = count})
