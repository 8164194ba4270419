-- The right recovery code was given: burn it. One winner.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    guard       cleared by success
-- KEYS[3]    proof       hash, born here with its own end; absent for a proof that is not recorded
-- ARGV[1]    JSON: offset, index, phc (as handed out: a new set in between voids it), proof (flat list), proof_ttl_ms
--
-- Returns JSON {verdict, …}
--   redeemed      at, remaining
--   gone          somebody else was first, or the set was replaced
--- include: _clock.lua
--- include: _proof.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if redis.call('HGET', KEYS[1], a.index) ~= a.phc then return cjson.encode({verdict = 'gone'}) end
redis.call('HDEL', KEYS[1], a.index)
redis.call('DEL', KEYS[2])
write_proof(KEYS[3], a, now)
return cjson.encode({verdict = 'redeemed', at = now, remaining = redis.call('HLEN', KEYS[1])})
