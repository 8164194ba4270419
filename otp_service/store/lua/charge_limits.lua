-- Charge limits that lie in another slot than the challenge (Redis Cluster): all of them or none.
--
-- KEYS       limits      see _limits.lua
-- ARGV[1]    JSON: offset, member, limits
--
-- Returns JSON {verdict, …}
--   charged       windows, next_ms of the first limit
--   limited       limit, wait_ms
--- include: _clock.lua
--- include: _limits.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local limit, wait = refusing(a.limits, now)
if limit then return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait}) end
charge(a.limits, now, a.member)
local windows, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'charged', windows = windows, next_ms = next_ms})
