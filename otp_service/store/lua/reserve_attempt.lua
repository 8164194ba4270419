-- Spend one attempt before anything is compared: count first, then hand out the digest.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret
-- KEYS[3]    subject
-- KEYS[4]    guard
-- KEYS[5]    timeline    see _timeline.lua
-- KEYS[6]    all         guard of all factors
-- ARGV[1]    JSON: offset, id, caller, purpose, binding, digits (of the typed code), attempt_id, budget,
--            capacity (whether the caller can compare digests now)
--
-- Returns JSON {verdict, …}
--   reserved      digest, kid, generation, attempts_left, about, region; old_digest, old_kid, old_generation within the grace;
--                 blocks: unless this try succeeds, the subject is blocked
--   approved      about, ended_at, proof_kid: this very attempt has succeeded before (a retried call)
--   not_found     no such challenge of this caller
--   app           an authenticator app answers it: see reserve_step.lua; nothing counted
--   mismatch      purpose or binding differ; nothing counted
--   ended         status, ended_at; nothing counted
--   blocked       until_ms; nothing counted
--   not_sent      no code has been drawn; nothing counted
--   digits        the code has another length; nothing counted
--   no_capacity   an attempt would have been counted, and nothing was
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
if c.channel == 'totp' then return cjson.encode({verdict = 'app'}) end
if c.purpose ~= a.purpose or c.binding ~= a.binding then return cjson.encode({verdict = 'mismatch'}) end

local status, ended_at = ending(c, redis.call('HGET', KEYS[3], pointer(c.purpose, c.binding)), a, now)
if status == 'approved' and c.approved_by == a.attempt_id then
  return cjson.encode({verdict = 'approved', about = c.about, ended_at = ended_at, proof_kid = c.proof_kid})
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
if a.digits ~= tonumber(c.digits) then return cjson.encode({verdict = 'digits', digits = tonumber(c.digits)}) end

local s = hash(KEYS[2])
local old = s.old_digest and tonumber(s.old_until) > now
if not s.digest and not old then
  -- The secret lives as long as the challenge. Where it is gone before, Redis' clock was ahead for a while.
  if not next(s) then return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now}) end
  return cjson.encode({verdict = 'not_sent'})
end
if not a.capacity then return cjson.encode({verdict = 'no_capacity'}) end

local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'attempted_at', now)
count_failure(KEYS[4], KEYS[6], a.budget, now)
go_on(KEYS[5], now, 'tried', a.id, 'try=' .. attempts, 'of=' .. c.max_attempts)
return cjson.encode({verdict = 'reserved', digest = s.digest, kid = s.kid, generation = tonumber(c.generation),
  old_digest = old and s.old_digest or nil, old_kid = old and s.old_kid or nil,
  old_generation = old and tonumber(s.old_generation) or nil,
  attempts_left = c.max_attempts - attempts, about = c.about, region = c.region,
  blocks = blocked_until(KEYS[4], KEYS[6], a.budget, now) ~= nil})
