-- The fence of a send: exactly one worker may hand this generation of the code to the provider.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret
-- KEYS[3]    subject
-- ARGV[1]    JSON: offset, id, generation, digest, kid, sending_ms (until when the send is over, one way or another)
--
-- Returns JSON {verdict, …}
--   sending       the digest is stored; send now
--   lost          another worker was first, the challenge ended, or too little of its life is left
--- include: _clock.lua
--- include: _ending.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.delivery ~= 'queued' or tonumber(c.generation) ~= a.generation
  or ending(c, redis.call('HGET', KEYS[3], pointer(c.purpose, c.binding)), a.id, now)
  or tonumber(c.expires_at) - now < tonumber(c.min_life_ms)
  or redis.call('EXISTS', KEYS[2]) == 0 then
  return cjson.encode({verdict = 'lost'})
end
redis.call('HSET', KEYS[1], 'delivery', 'sending', 'sending_until', now + a.sending_ms)
redis.call('HSET', KEYS[2], 'digest', a.digest, 'kid', a.kid)
return cjson.encode({verdict = 'sending'})
