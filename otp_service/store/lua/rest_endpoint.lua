-- End an endpoint's turn: its next one is when its next message is due, yet not before `pause_ms` and, while anything
-- waits, not after `latest_ms`, so that news for an endpoint that failed long ago need not wait as long as it has to.
--
-- KEYS[1]    due         see enqueue_webhook.lua
-- KEYS[2]    failing     as due, of endpoints whose last try failed; an endpoint is in one of the two
-- KEYS[3]    waiting
-- ARGV[1]    JSON: offset, endpoint, pause_ms, latest_ms, keep_ms, failed (whether its last try did; absent: none was
--            made, and it stays where it is)
--
-- Returns JSON {verdict}
--   resting       it has a turn ahead
--   idle          nothing waits for it
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
if not first then
  redis.call('ZREM', KEYS[1], a.endpoint)
  redis.call('ZREM', KEYS[2], a.endpoint)
  return cjson.encode({verdict = 'idle'})
end
local turn = math.min(math.max(tonumber(first), now + a.pause_ms), now + math.max(a.latest_ms, a.pause_ms))
local failing = a.failed
if failing == nil then failing = redis.call('ZSCORE', KEYS[2], a.endpoint) ~= false end
local into, out_of = KEYS[failing and 2 or 1], KEYS[failing and 1 or 2]
redis.call('ZADD', into, turn, a.endpoint)
redis.call('ZREM', out_of, a.endpoint)
redis.call('PEXPIRE', into, a.keep_ms)
return cjson.encode({verdict = 'resting'})
