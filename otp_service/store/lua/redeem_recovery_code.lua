-- The right recovery code was given: burn it. One winner.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    guard       cleared by success
-- KEYS[3]    timeline    see _timeline.lua
-- KEYS[4]    events      stream, see _event.lua
-- KEYS[5]    attempt     see _attempt.lua
-- KEYS[6]    all         guard of all factors, cleared by success
-- KEYS[7]    proof       hash, born here with its own end; absent for a proof that is not recorded
-- ARGV[1]    JSON: offset, index, phc (as handed out: a new set in between voids it), proof (flat list), proof_ttl_ms,
--            proof_kid, event (see _event.lua)
--
-- Returns JSON {verdict, …}
--   accepted      at, remaining, proof_kid
--   gone          somebody else was first, or the set was replaced
--- include: _attempt.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _event.lua
--- include: _proof.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if redis.call('HGET', KEYS[1], a.index) ~= a.phc then return cjson.encode({verdict = 'gone'}) end
redis.call('HDEL', KEYS[1], a.index)
redis.call('DEL', KEYS[2], KEYS[6])
write_proof(KEYS[7], a, now)
local remaining = redis.call('HLEN', KEYS[1])
go_on(KEYS[3], now, 'approved', '-', 'factor=recovery', 'remaining=' .. remaining)
tell_of_subject(KEYS[4], a.event, 'recovery_code.used', now, 'remaining', remaining)
local success = {verdict = 'accepted', at = now, remaining = remaining, proof_kid = a.proof_kid}
write_attempt(KEYS[5], {accepted = success})
return cjson.encode(success)
