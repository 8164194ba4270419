-- The right code of a step was given: accept the step if it is later than every one before. One winner.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    guard       cleared by success, but not at confirming; see _guard.lua
-- KEYS[3]    timeline    see _timeline.lua
-- KEYS[4]    events      stream, see _event.lua
-- KEYS[5]    attempt     see _attempt.lua
-- KEYS[6]    all         guard of all factors, likewise
-- KEYS[7]    proof       hash, born here with its own end; absent when a factor is confirmed or the
--                        proof is not recorded
-- ARGV[1]    JSON: offset, id, caller, step, confirm (true for a pending factor), proof_required (at confirming), events
--            (whether webhooks are told of a confirmed factor), proof (flat list), proof_ttl_ms,
--            proof_kid, budget
--
-- Returns JSON {verdict, …}
--   accepted      at, factor_id, proof_kid
--   replayed      this step or a later one was accepted before; the try is given back, but not at confirming
--   unproven      since it was enrolled, without a proof, the subject has confirmed another; see _unproven.lua
--   not_found     the factor is gone
--- include: _attempt.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _event.lua
--- include: _factors.lua
--- include: _guard.lua
--- include: _proof.lua
--- include: _unproven.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local found = factors(KEYS[1], now)
local factor = found[a.id]
if not factor or factor.caller ~= a.caller or (factor.status == 'pending') ~= a.confirm then
  return cjson.encode({verdict = 'not_found'})
end
if a.confirm and unproven(nil, a.proof_required and not factor.proven, found, a, now) then
  return cjson.encode({verdict = 'unproven'})
end
if is_spent(KEYS[1], a.id, factor, a.step, a, now) then
  if not a.confirm then
    take_back_failure(KEYS[2], KEYS[6], a.budget, now)
    redis.call('DEL', KEYS[5])  -- the same call again counts again
  end
  return cjson.encode({verdict = 'replayed'})
end
factor.last_step = a.step
if a.confirm then factor.status, factor.confirmed_at, factor.expires_at = 'confirmed', now, nil end
redis.call('HSET', KEYS[1], a.id, cjson.encode(factor))
keep(KEYS[1], now)
if a.confirm then
  take_back_in(KEYS[6], a.budget.all, now)  -- enrolling shows nothing about the person, so older failures stay
else
  redis.call('DEL', KEYS[2], KEYS[6])
end
go_on(KEYS[3], now, a.confirm and 'confirmed' or 'approved', a.id, 'factor=' .. factor.type)
if a.confirm then tell_of_factor(KEYS[4], a.events, factor, a.id, 'factor.confirmed', now) end
write_proof(KEYS[7], a, now)
local success = {verdict = 'accepted', at = now, factor_id = a.id, proof_kid = a.proof_kid}
write_attempt(KEYS[5], {accepted = success})
return cjson.encode(success)
