-- The right code of an authenticator app was given for a challenge: the step is accepted and the challenge is over, both
-- or neither. One winner.
--
-- KEYS[1]    challenge
-- KEYS[2]    subject
-- KEYS[3]    factors     see _factors.lua
-- KEYS[4]    guard       of authenticators, cleared by success
-- KEYS[5]    timeline    see _timeline.lua
-- KEYS[6]    events      stream, see _event.lua
-- KEYS[7]    all         guard of all factors, cleared by success
-- KEYS[8]    proof       hash, born here with its own end; absent when the proof is not recorded
-- ARGV[1]    JSON: offset, id, caller, factor_id, step, attempt_id, proof_kid, proof (flat list of fields),
--            proof_ttl_ms, budget
--
-- Returns JSON {verdict, …}
--   approved      ended_at
--   ended         status, ended_at: somebody else was first, or time ran out
--   replayed      this step or a later one was accepted before, here or elsewhere; the try is given back
--   no_factor     the authenticator is gone
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _event.lua
--- include: _factors.lua
--- include: _guard.lua
--- include: _proof.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if not c.status then return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now}) end
local own = pointer(c.purpose, c.binding)
local status, ended_at = ending(c, redis.call('HGET', KEYS[2], own), a, now)
if status then return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at}) end

local factor = factors(KEYS[3], now)[a.factor_id]
if not factor or factor.caller ~= a.caller or factor.status ~= 'confirmed' then
  return cjson.encode({verdict = 'no_factor'})
end
if is_spent(KEYS[3], a.factor_id, factor, a.step, a, now) then
  take_back_failure(KEYS[4], KEYS[7], a.budget, now)
  redis.call('HINCRBY', KEYS[1], 'attempts', -1)
  return cjson.encode({verdict = 'replayed'})
end
factor.last_step = a.step
redis.call('HSET', KEYS[3], a.factor_id, cjson.encode(factor))

redis.call('HSET', KEYS[1], 'status', 'approved', 'ended_at', now, 'approved_by', a.attempt_id,
  'proof_kid', a.proof_kid)
redis.call('HDEL', KEYS[2], own)
redis.call('DEL', KEYS[4], KEYS[7])
write_proof(KEYS[8], a, now)
go_on(KEYS[5], now, 'approved', a.id)
tell(KEYS[6], c, a.id, 'challenge.approved', now, 'attempts', c.attempts)
return cjson.encode({verdict = 'approved', ended_at = now})
