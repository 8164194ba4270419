-- The right code of a step was given: accept the step if it is later than every one before. One winner.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    guard       cleared by success
-- KEYS[3]    proof       hash, born here with its own end; absent when a factor is confirmed or the
--                        proof is not recorded
-- ARGV[1]    JSON: offset, id, caller, step, confirm (true for a pending factor), proof_required (at confirming), proof
--            (flat list), proof_ttl_ms
--
-- Returns JSON {verdict, …}
--   accepted      at
--   replayed      this step or a later one was accepted before
--   unproven      since it was enrolled, without a proof, the subject has confirmed another; see _unproven.lua
--   not_found     the factor is gone
--- include: _clock.lua
--- include: _factors.lua
--- include: _proof.lua
--- include: _unproven.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local found = factors(KEYS[1], now)
local factor = found[a.id]
if not factor or factor.caller ~= a.caller or (factor.status == 'pending') ~= a.confirm then
  return cjson.encode({verdict = 'not_found'})
end
if a.confirm and unproven(nil, a.proof_required and not factor.proven, found, now) then
  return cjson.encode({verdict = 'unproven'})
end
if a.step <= factor.last_step then return cjson.encode({verdict = 'replayed'}) end
factor.last_step = a.step
if a.confirm then factor.status, factor.confirmed_at, factor.expires_at = 'confirmed', now, nil end
redis.call('HSET', KEYS[1], a.id, cjson.encode(factor))
keep(KEYS[1], now)
redis.call('DEL', KEYS[2])
write_proof(KEYS[3], a, now)
return cjson.encode({verdict = 'accepted', at = now})
