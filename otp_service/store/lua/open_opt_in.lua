-- Begin a double opt-in whose code the site draws: when all limits pass, count and write it `pending`; else touch nothing.
--
-- KEYS[1]    opt_in      hash of this caller, number and group
-- KEYS[2..]  limits      see _limits.lua
-- ARGV[1]    JSON: offset, handle, consent (sealed), max_attempts, ttl_ms, retention_ms, limits
--
-- Returns JSON {verdict, …}
--   opened        now, expires_at, next_ms, pending_before (true when an unconfirmed one of ours is replaced)
--   again         the same, for a retried call: the site must not be asked once more
--   limited       limit, wait_ms, window_ms (of a window only)
--- include: _clock.lua
--- include: _limits.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if o.handle == a.handle then
  return cjson.encode({verdict = 'again', now = now, expires_at = tonumber(o.expires_at), next_ms = 0})
end
local limit, wait, window = refusing(a.limits, now)
if limit then
  return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait, window_ms = window})
end
charge(a.limits, now, a.handle)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'handle', a.handle, 'status', 'pending', 'consent', a.consent, 'attempts', 0,
  'max_attempts', a.max_attempts, 'requested_at', now, 'expires_at', now + a.ttl_ms)
redis.call('PEXPIRE', KEYS[1], a.ttl_ms + a.retention_ms)
local _, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'opened', now = now, expires_at = now + a.ttl_ms, next_ms = next_ms,
  pending_before = o.status == 'pending'})
