-- The right code was given: the challenge is over, the counters are cleared, the proof is written. One winner.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret
-- KEYS[3]    subject
-- KEYS[4]    guard
-- KEYS[5]    events      stream, see _event.lua
-- KEYS[6]    timeline    see _timeline.lua
-- KEYS[7]    all         guard of all factors: this try is taken back. Older failures stay, since the caller names the
--                        number, and a code sent to one's own number must not bring new guesses at other factors
-- KEYS[8]    proof       hash, born here with its own end; absent for a proof that is not recorded
-- ARGV[1]    JSON: offset, id, generation (of the digest that matched), attempt_id, proof_kid (the proof key's), proof
--            (flat list of fields), proof_ttl_ms, budget
--
-- Returns JSON {verdict, …}
--   approved      ended_at
--   ended         status, ended_at: somebody else was first, or time ran out while hashing
--   not_sent      a resend came between: that generation is dead
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _event.lua
--- include: _guard.lua
--- include: _proof.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if not c.status then return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now}) end
local own = pointer(c.purpose, c.binding)
local status, ended_at = ending(c, redis.call('HGET', KEYS[3], own), a, now)
if status then return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at}) end

if a.generation ~= tonumber(c.generation) then
  local old = redis.call('HMGET', KEYS[2], 'old_generation', 'old_until')
  if tonumber(old[1] or 0) ~= a.generation or tonumber(old[2]) <= now then
    return cjson.encode({verdict = 'not_sent'})
  end
end

redis.call('HSET', KEYS[1], 'status', 'approved', 'ended_at', now, 'approved_by', a.attempt_id,
  'proof_kid', a.proof_kid)
redis.call('DEL', KEYS[2], KEYS[4])
take_back_in(KEYS[7], a.budget.all, now)
if a.generation == tonumber(c.generation) and (c.delivery == 'unknown' or c.delivery == 'failed') then
  -- Who has the code got the message, whatever the provider said of it.
  redis.call('HSET', KEYS[1], 'delivery', 'accepted', 'delivery_reason', '')
  go_on(KEYS[6], now, 'accepted', a.id, 'generation=' .. a.generation)
  tell(KEYS[5], c, a.id, 'delivery.accepted', now, 'reason', '', 'generation', a.generation)
end
redis.call('HDEL', KEYS[3], own)
write_proof(KEYS[8], a, now)
go_on(KEYS[6], now, 'approved', a.id)
tell(KEYS[5], c, a.id, 'challenge.approved', now, 'attempts', c.attempts)
return cjson.encode({verdict = 'approved', ended_at = now})
