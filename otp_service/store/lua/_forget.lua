-- Forget devices of _devices.lua, and tell the help desk and webhooks of it. Of one whose token was copied they know:
-- it has been of no use since.

local function forget(key, timeline, stream, a, device, id, now)
  redis.call('HDEL', key, id)
  if device.reused_at then return 0 end
  begin(timeline, now, a.life_ms, line(now, 'forgotten', id, 'factor=device'))
  tell_of_device(stream, a.events, device, id, 'device.forgotten', now)
  return 1
end

local function forget_all(key, timeline, stream, a, now)
  local count = 0
  for id, device in pairs(devices(key, now)) do count = count + forget(key, timeline, stream, a, device, id, now) end
  redis.call('DEL', key)
  return count
end
