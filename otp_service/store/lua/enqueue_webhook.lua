-- Queue one message for one endpoint. Bounded: beyond the cap the longest waiting become dead letters, beyond theirs
-- the oldest dead letters are forgotten.
--
-- KEYS[1]    due         zset: endpoints by when they have their next turn
-- KEYS[2]    failing     zset: the same, of endpoints whose last try failed; an endpoint is in one of the two
-- KEYS[3]    waiting     zset: the endpoint's messages by when they are due
-- KEYS[4]    records     hash: message -> text
-- KEYS[5]    dead        zset: messages by when they were given up
-- ARGV[1]    JSON: offset, endpoint, message, record, again (true: out of the dead letters), cap, dead_cap, keep_ms
--
-- Returns JSON {verdict, …}
--   queued        buried: how many others became dead letters for it
--   exists        it is queued or dead already, nothing changed
--   gone          `again`, but there is no such dead letter
--- include: _clock.lua
--- include: _dead_letters.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if a.again then
  if redis.call('ZREM', KEYS[5], a.message) == 0 then return cjson.encode({verdict = 'gone'}) end
elseif redis.call('HEXISTS', KEYS[4], a.message) == 1 then
  return cjson.encode({verdict = 'exists'})
end
redis.call('HSET', KEYS[4], a.message, a.record)
redis.call('ZADD', KEYS[3], now, a.message)
-- An endpoint with a turn ahead keeps it: it may be resting, or busy.
if not redis.call('ZSCORE', KEYS[2], a.endpoint) then redis.call('ZADD', KEYS[1], 'NX', now, a.endpoint) end
local over = redis.call('ZCARD', KEYS[3]) - a.cap
local buried = {}
if over > 0 then buried = redis.call('ZRANGE', KEYS[3], 0, over - 1) end
for _, message in ipairs(buried) do bury(KEYS[3], KEYS[4], KEYS[5], message, now, a.dead_cap, a.keep_ms) end
for i = 1, 5 do redis.call('PEXPIRE', KEYS[i], a.keep_ms) end
return cjson.encode({verdict = 'queued', buried = #buried})
