-- Spend one try of an opt-in before the site is asked: the site itself counts nothing and never lets a code expire.
--
-- KEYS[1]    opt_in
-- KEYS[2]    guesses     of this caller and number, over all groups and requests: a limit, see _limits.lua
-- ARGV[1]    JSON: offset, attempt (the call's handle), guesses (the spec of that limit), counted (false: the code is
--            ours, and its challenge counts)
--
-- Returns JSON {verdict, …}
--   reserved      handle, consent, requested_at, attempts_left, unsure (fingerprint of a code that the site may have
--                 taken, or ""), subscribed (the site had the number already, so no code is right), last_guess (no
--                 other try is allowed for now); the same attempt again is counted once
--   approved      handle, consent, requested_at, ended_at: this very attempt has succeeded before
--   not_found     nothing was requested, or too long ago
--   ended         status (approved, expired, exhausted, canceled), ended_at; nothing counted
--   not_sent      the send of its code failed; nothing counted
--   no_guesses    wait_ms; nothing counted
--- include: _clock.lua
--- include: _limits.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if not o.status then return cjson.encode({verdict = 'not_found'}) end
local function told(verdict, attempts)
  local _, wait = refusing({a.guesses}, now)
  return cjson.encode({verdict = verdict, handle = o.handle, consent = o.consent, requested_at = tonumber(o.requested_at),
    attempts_left = o.max_attempts - attempts, unsure = o.unsure or '', subscribed = o.subscribed == '1',
    last_guess = wait > 0, ended_at = tonumber(o.ended_at)})
end
if o.status == 'approved' and o.attempt == a.attempt then return told('approved', o.attempts) end
if o.status ~= 'pending' then
  return cjson.encode({verdict = 'ended', status = o.status, ended_at = tonumber(o.ended_at)})
end
if is_future(o.requested_at, now) then
  return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now})
end
if now >= tonumber(o.expires_at) then
  return cjson.encode({verdict = 'ended', status = 'expired', ended_at = tonumber(o.expires_at)})
end
if o.failed == '1' then return cjson.encode({verdict = 'not_sent'}) end
if not a.counted then
  redis.call('HSET', KEYS[1], 'attempt', a.attempt)
  return told('reserved', 0)
end
if o.attempt == a.attempt then return told('reserved', o.attempts) end
if tonumber(o.attempts) >= tonumber(o.max_attempts) then
  return cjson.encode({verdict = 'ended', status = 'exhausted', ended_at = tonumber(o.attempted_at)})
end
local _, wait = refusing({a.guesses}, now)
if wait > 0 then return cjson.encode({verdict = 'no_guesses', wait_ms = wait}) end
charge({a.guesses}, now, a.attempt)
local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'attempted_at', now, 'attempt', a.attempt)
return told('reserved', attempts)
