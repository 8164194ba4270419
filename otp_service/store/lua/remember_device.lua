-- Remember a device and spend the proof that was shown for it, both or neither. When the subject has as many devices as
-- it may, the one that was longest not used is forgotten for it.
--
-- KEYS[1]    devices     see _devices.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- KEYS[4]    proof       hash, see _proof.lua; that it is this subject's own has been checked
-- ARGV[1]    JSON: offset, id, device (caller, about, purpose, binding, name), ttl_ms, max_devices, life_ms,
--            events (whether webhooks are told)
--
-- Returns JSON {verdict, …}
--   remembered    expires_at, purpose; also when this very device was remembered before and is unused (a retried call)
--   inactive      the proof is spent or past its end
--- include: _clock.lua
--- include: _fence.lua
--- include: _proof.lua
--- include: _devices.lua
--- include: _event.lua
--- include: _timeline.lua
--- include: _forget.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local before = redis.call('HGET', KEYS[1], a.id)
if before then
  before = cjson.decode(before)
  if is_alive(before.created_at, before.expires_at, now) and before.generation == 0 and not before.reused_at then
    return cjson.encode({verdict = 'remembered', expires_at = before.expires_at, purpose = before.purpose})
  end
end
if before or not is_active(KEYS[4], a, now) then
  return cjson.encode({verdict = 'inactive'})
end
a.device.generation, a.device.created_at, a.device.expires_at = 0, now, now + a.ttl_ms
-- Adds before it spends and tidies up: a full Redis refuses what adds, but only as long as the script has written nothing.
redis.call('HSET', KEYS[1], a.id, cjson.encode(a.device))
redis.call('DEL', KEYS[4])

local found, others, ends_at = devices(KEYS[1], now), {}, 0
for id in pairs(hash(KEYS[1])) do
  if not found[id] then redis.call('HDEL', KEYS[1], id) end
end
for id, device in pairs(found) do
  if id ~= a.id then others[#others + 1] = {id = id, at = device.used_at or device.created_at} end
  ends_at = math.max(ends_at, device.expires_at)
end
table.sort(others, function(x, y) return x.at < y.at or (x.at == y.at and x.id < y.id) end)
for i = 1, #others - a.max_devices + 1 do
  forget(KEYS[1], KEYS[2], KEYS[3], a, found[others[i].id], others[i].id, now)
end
redis.call('PEXPIRE', KEYS[1], ends_at - now)
begin(KEYS[2], now, a.life_ms,
  line(now, 'remembered', a.id, 'factor=device', 'purpose=' .. a.device.purpose, 'until=' .. a.device.expires_at))
tell_of_device(KEYS[3], a.events, a.device, a.id, 'device.remembered', now)
return cjson.encode({verdict = 'remembered', expires_at = a.device.expires_at, purpose = a.device.purpose})
