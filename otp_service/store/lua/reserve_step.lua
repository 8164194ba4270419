-- Spend one attempt of a challenge that an authenticator app answers, before any code is computed.
--
-- KEYS[1]    challenge
-- KEYS[2]    subject
-- KEYS[3]    factors     see _factors.lua
-- KEYS[4]    guard       of authenticators
-- KEYS[5]    timeline    see _timeline.lua
-- KEYS[6]    all         guard of all factors
-- ARGV[1]    JSON: offset, id, caller, purpose, binding, digits (of the typed code), attempt_id, budget
--
-- Returns JSON {verdict, …}
--   reserved      now, factors (id to fields: the confirmed ones with so many digits), attempts_left, about,
--                 blocks: unless this try succeeds, the subject is blocked
--   approved      about, ended_at, proof_kid: this very attempt has succeeded before (a retried call)
--   not_found, mismatch, ended, blocked, digits   as reserve_attempt.lua; nothing counted
--   no_factor     the subject's last authenticator is gone; nothing counted
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _guard.lua
--- include: _factors.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
if c.purpose ~= a.purpose or c.binding ~= a.binding then return cjson.encode({verdict = 'mismatch'}) end

local status, ended_at = ending(c, redis.call('HGET', KEYS[2], pointer(c.purpose, c.binding)), a, now)
if status == 'approved' and c.approved_by == a.attempt_id then
  return cjson.encode({verdict = 'approved', about = c.about, ended_at = ended_at,
    proof_kid = c.proof_kid})
end
if status then return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at}) end
if tonumber(c.attempts) >= tonumber(c.max_attempts) then
  return cjson.encode({verdict = 'ended', status = 'exhausted', ended_at = tonumber(c.attempted_at)})
end
local blocked = blocked_until(KEYS[4], KEYS[6], a.budget, now)
if blocked then
  refused(KEYS[5], now, a.id, 'blocked', blocked)
  return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
end

local tried, any, digits = {}, false, nil
for id, factor in pairs(factors(KEYS[3], now)) do
  if factor.status == 'confirmed' and factor.caller == a.caller then
    if factor.digits == a.digits then tried[id], any = factor, true else digits = factor.digits end
  end
end
if not any then
  return cjson.encode(digits and {verdict = 'digits', digits = digits} or {verdict = 'no_factor'})
end

local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'attempted_at', now)
count_failure(KEYS[4], KEYS[6], a.budget, now)
go_on(KEYS[5], now, 'tried', a.id, 'try=' .. attempts, 'of=' .. c.max_attempts)
return cjson.encode({verdict = 'reserved', now = now, factors = tried, about = c.about,
  attempts_left = c.max_attempts - attempts, blocks = blocked_until(KEYS[4], KEYS[6], a.budget, now) ~= nil})
