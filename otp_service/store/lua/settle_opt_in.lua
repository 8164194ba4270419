-- Write what the site said, if the opt-in is still the one that was asked for.
--
-- KEYS[1]    opt_in
-- KEYS[2]    guesses     see reserve_opt_in.lua
-- ARGV[1]    JSON: offset, handle ("": whichever there is), said, code, attempt
--   said       asked       the request's call went through: the code is on its way
--              subscribed  the same, but the site had the number already and sent nothing
--              failed      the same, but the send of the code failed, and the site undid the subscription
--              unsure      the site may have taken the try with this `code` (a fingerprint)
--              unasked     the site did not judge the code: the try of this `attempt` costs nothing
--              approved, exhausted, canceled: it is over
--
-- Returns JSON {verdict, …}
--   settled       ended_at, was_pending (before this call)
--   stale         another request took its place, or it is gone
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if not o.status or (a.handle ~= '' and o.handle ~= a.handle) then return cjson.encode({verdict = 'stale'}) end
local pending = o.status == 'pending'
if a.said == 'asked' then
  redis.call('HSET', KEYS[1], 'asked', '1', 'replaced', '')
elseif a.said == 'subscribed' then
  redis.call('HSET', KEYS[1], 'asked', '1', 'replaced', '', 'subscribed', '1')
elseif a.said == 'failed' then
  redis.call('HSET', KEYS[1], 'asked', '1', 'replaced', '', 'failed', '1')
elseif a.said == 'unsure' then
  redis.call('HSET', KEYS[1], 'unsure', a.code)
elseif a.said == 'unasked' then
  if pending and redis.call('ZREM', KEYS[2], a.attempt) == 1 then
    redis.call('HINCRBY', KEYS[1], 'attempts', -1)
    if o.attempt == a.attempt then redis.call('HDEL', KEYS[1], 'attempt') end
  end
elseif pending then
  redis.call('HSET', KEYS[1], 'status', a.said, 'ended_at', now)
  if a.said == 'approved' then redis.call('DEL', KEYS[2]) end
else
  now = tonumber(o.ended_at)
end
return cjson.encode({verdict = 'settled', ended_at = now, was_pending = pending})
