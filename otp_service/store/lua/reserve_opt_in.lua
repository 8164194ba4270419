-- Spend one try of an opt-in before the site is asked: the site itself counts nothing and never lets a code expire.
--
-- KEYS[1]    opt_in
-- ARGV[1]    JSON: offset, attempt_id
--
-- Returns JSON {verdict, …}
--   reserved      handle, consent, requested_at, attempts_left, unsure (an earlier try may have been taken by the site)
--   approved      handle, consent, requested_at, ended_at: this very attempt has succeeded before (a repeated call)
--   not_found     nothing was requested, or too long ago
--   ended         status (approved, expired, exhausted, canceled), ended_at; nothing counted
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if not o.status then return cjson.encode({verdict = 'not_found'}) end
if o.status == 'approved' and o.approved_by == a.attempt_id then
  return cjson.encode({verdict = 'approved', handle = o.handle, consent = o.consent,
    requested_at = tonumber(o.requested_at), ended_at = tonumber(o.ended_at)})
end
if o.status ~= 'pending' then
  return cjson.encode({verdict = 'ended', status = o.status, ended_at = tonumber(o.ended_at)})
end
if is_future(o.requested_at, now) then
  return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now})
end
if now >= tonumber(o.expires_at) then
  return cjson.encode({verdict = 'ended', status = 'expired', ended_at = tonumber(o.expires_at)})
end
if tonumber(o.attempts) >= tonumber(o.max_attempts) then
  return cjson.encode({verdict = 'ended', status = 'exhausted', ended_at = tonumber(o.attempted_at)})
end
local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'attempted_at', now)
return cjson.encode({verdict = 'reserved', handle = o.handle, consent = o.consent,
  requested_at = tonumber(o.requested_at), attempts_left = o.max_attempts - attempts, unsure = o.unsure == '1'})
