-- Charge limits that lie in another slot than the challenge (Redis Cluster): all of them or none.
--
-- KEYS       limits      see _limits.lua
-- ARGV[1]    JSON: offset, member, limits
--
-- Returns JSON {verdict, …}
--   charged       again (an earlier run of the same call was charged: nothing is added), windows, next_ms of the first
--   limited       limit, wait_ms, window_ms (of a window only)
--- include: _clock.lua
--- include: _limits.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local again = redis.call('ZSCORE', KEYS[a.limits[1].i], a.member) and true or false
if not again then
  local limit, wait, window = refusing(a.limits, now)
  if limit then
    return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait, window_ms = window})
  end
  charge(a.limits, now, a.member)
end
local windows, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'charged', again = again, windows = windows, next_ms = next_ms})
