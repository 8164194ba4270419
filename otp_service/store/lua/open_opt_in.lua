-- Begin a double opt-in: when all limits pass, count and write it `pending`; else touch nothing.
--
-- KEYS[1]    opt_in      hash of this caller, number and group
-- KEYS[2]    guesses     of this caller and number, over all groups and requests: a limit, see _limits.lua
-- KEYS[3..]  limits      see _limits.lua
-- ARGV[1]    JSON: offset, handle, member (this run's id in the limits), asked (whether the code is on its way already),
--            consent (sealed), max_attempts, ttl_ms, retention_ms, guesses (the spec of that limit), limits
--
-- Returns JSON {verdict, …}
--   opened        now, expires_at, next_ms, pending_before (the site may hold an unconfirmed row of ours)
--   again         now, expires_at, next_ms, failed (its send failed): a retried call that went through before; nothing is charged
--   no_guesses    wait_ms: no code could be tried
--   limited       limit, wait_ms, window_ms (of a window only)
--- include: _clock.lua
--- include: _limits.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if o.handle == a.handle and o.asked == '1' then
  local _, next_ms = standing(a.limits, now)
  return cjson.encode({verdict = 'again', now = now, expires_at = tonumber(o.expires_at), next_ms = next_ms,
    failed = o.failed == '1'})
end
local _, no_guess_ms = refusing({a.guesses}, now)
if no_guess_ms > 0 then return cjson.encode({verdict = 'no_guesses', wait_ms = no_guess_ms}) end
local limit, wait, window = refusing(a.limits, now)
if limit then
  return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait, window_ms = window})
end
charge(a.limits, now, a.member)
local replaced = ''
if o.handle == a.handle then
  replaced = o.replaced
elseif o.status == 'pending' then
  o.replaced = nil
  replaced = cjson.encode(o)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'handle', a.handle, 'status', 'pending', 'consent', a.consent, 'attempts', 0,
  'max_attempts', a.max_attempts, 'requested_at', now, 'expires_at', now + a.ttl_ms, 'asked', a.asked and '1' or '0',
  'replaced', replaced)
redis.call('PEXPIRE', KEYS[1], a.ttl_ms + a.retention_ms)
local _, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'opened', now = now, expires_at = now + a.ttl_ms, next_ms = next_ms,
  pending_before = o.status == 'pending'})
