-- Write how one try to hand a message over went.
--
-- KEYS[1]    waiting     see enqueue_webhook.lua
-- KEYS[2]    records
-- KEYS[3]    dead
-- ARGV[1]    JSON: offset, message, outcome (delivered, retry or dead), record (what is kept of it now), delay_ms (until
--            the next try), dead_cap, keep_ms
--
-- Returns JSON {verdict}
--   settled       written
--   gone          there is no such message any more: nothing written
--- include: _clock.lua
--- include: _dead_letters.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if redis.call('HEXISTS', KEYS[2], a.message) == 0 then return cjson.encode({verdict = 'gone'}) end
if a.outcome == 'delivered' then
  redis.call('ZREM', KEYS[1], a.message)
  redis.call('ZREM', KEYS[3], a.message)
  redis.call('HDEL', KEYS[2], a.message)
  return cjson.encode({verdict = 'settled'})
end
redis.call('HSET', KEYS[2], a.message, a.record)
if a.outcome == 'dead' then
  bury(KEYS[1], KEYS[2], KEYS[3], a.message, now, a.dead_cap, a.keep_ms)
else
  redis.call('ZADD', KEYS[1], 'XX', now + a.delay_ms, a.message)  -- not if it was buried meanwhile
end
return cjson.encode({verdict = 'settled'})
