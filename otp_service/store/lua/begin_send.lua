-- The fence of a send: exactly one worker may hand this generation of the code to the provider.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret
-- KEYS[3]    subject
-- KEYS[4]    trace       hash, born here: what finds the message again at the provider (see open_trace.lua)
-- KEYS[5]    traces      zset of traces by when to look; this one when the send is over, settled or not
-- KEYS[6]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, id, generation, digest, kid, sending_ms (until when the send is over, one way or another),
--            trace_ms (how long to look; 0: leave no trace), number (sealed for the trace)
--
-- Returns JSON {verdict, …}
--   sending       the digest is stored; send now
--   lost          another worker was first, the challenge ended, or too little of its life is left
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _trace.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.delivery ~= 'queued' or tonumber(c.generation) ~= a.generation
  or ending(c, redis.call('HGET', KEYS[3], pointer(c.purpose, c.binding)), a, now)
  or tonumber(c.expires_at) - now < tonumber(c.min_life_ms)
  or redis.call('EXISTS', KEYS[2]) == 0 then
  return cjson.encode({verdict = 'lost'})
end
redis.call('HSET', KEYS[1], 'delivery', 'sending', 'sending_at', now, 'sending_until', now + a.sending_ms)
redis.call('HSET', KEYS[2], 'digest', a.digest, 'kid', a.kid)
go_on(KEYS[6], now, 'sending', a.id, 'generation=' .. a.generation)
if a.trace_ms > 0 then
  -- `wall_at` is what the provider's clock is compared with, so no test's offset moves it.
  redis.call('HSET', KEYS[4], 'number', a.number, 'digest', a.digest, 'kid', a.kid, 'caller', c.caller,
    'purpose', c.purpose, 'binding', c.binding, 'began_at', now, 'wall_at', now_ms(0), 'ends_at', now + a.trace_ms)
  redis.call('PEXPIRE', KEYS[4], a.trace_ms + LAST_LOOK_MS)
  trace_due(KEYS[5], now + a.sending_ms, a.id .. ':' .. a.generation)
end
return cjson.encode({verdict = 'sending'})
