-- End an endpoint's turn: its next one is when its next message is due, yet not before `pause_ms` and, while anything
-- waits, not after `latest_ms`, so that news for an endpoint that failed long ago need not wait as long as it has to.
--
-- KEYS[1]    due         see enqueue_webhook.lua
-- KEYS[2]    waiting
-- ARGV[1]    JSON: offset, endpoint, pause_ms, latest_ms, keep_ms
--
-- Returns JSON {verdict}
--   resting       it has a turn ahead
--   idle          nothing waits for it
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if not first then
  redis.call('ZREM', KEYS[1], a.endpoint)
  return cjson.encode({verdict = 'idle'})
end
local turn = math.min(math.max(tonumber(first), now + a.pause_ms), now + math.max(a.latest_ms, a.pause_ms))
redis.call('ZADD', KEYS[1], turn, a.endpoint)
redis.call('PEXPIRE', KEYS[1], a.keep_ms)
return cjson.encode({verdict = 'resting'})
