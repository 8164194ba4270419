-- End a challenge without success: canceled by its caller, exhausted by its last wrong try, replaced by a newer one.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret      deleted: a tombstone holds neither number nor digest
-- KEYS[3]    subject
-- KEYS[4]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, id, caller, status
--
-- Returns JSON {verdict, …}
--   ended         status, ended_at: how it ended, by this call or before it
--   not_found     no such challenge of this caller
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
local own = pointer(c.purpose, c.binding)
local live = redis.call('HGET', KEYS[3], own)
local status, ended_at = ending(c, live, a, now)
if not status then
  status, ended_at = a.status, now
  redis.call('HDEL', KEYS[3], own)
  go_on(KEYS[4], now, status, a.id)
end
if c.status == 'pending' then
  redis.call('HSET', KEYS[1], 'status', status, 'ended_at', ended_at)
  redis.call('DEL', KEYS[2])
end
return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at})
