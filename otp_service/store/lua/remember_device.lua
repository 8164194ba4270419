-- Remember a device. When the subject has as many as it may, the one that was longest not used is forgotten for it.
--
-- KEYS[1]    devices     see _devices.lua
-- ARGV[1]    JSON: offset, id, device (caller, purpose, binding, name), ttl_ms, max_devices
--
-- Returns JSON {verdict, …}
--   remembered    expires_at
--- include: _clock.lua
--- include: _devices.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
a.device.generation, a.device.created_at, a.device.expires_at = 0, now, now + a.ttl_ms
redis.call('HSET', KEYS[1], a.id, cjson.encode(a.device))

-- Adds before it tidies up: a full Redis refuses what adds, but only as long as the script has written nothing.
local found, others, ends_at = devices(KEYS[1], now), {}, 0
for id in pairs(hash(KEYS[1])) do
  if not found[id] then redis.call('HDEL', KEYS[1], id) end
end
for id, device in pairs(found) do
  if id ~= a.id then others[#others + 1] = {id = id, at = device.used_at or device.created_at} end
  ends_at = math.max(ends_at, device.expires_at)
end
table.sort(others, function(x, y) return x.at < y.at or (x.at == y.at and x.id < y.id) end)
for i = 1, #others - a.max_devices + 1 do redis.call('HDEL', KEYS[1], others[i].id) end
redis.call('PEXPIRE', KEYS[1], ends_at - now)
return cjson.encode({verdict = 'remembered', expires_at = a.device.expires_at})
