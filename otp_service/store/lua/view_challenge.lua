-- What a caller may see of its challenge, alive or ended. Writes nothing.
--
-- KEYS[1]    challenge
-- KEYS[2]    subject
-- ARGV[1]    JSON: offset, id, caller
--
-- Returns JSON {verdict, …}
--   found         now, channel, status, ended_at, purpose, about, opened_at, expires_at, attempts_left, sends_left, delivery,
--                 delivery_reason, generation
--   not_found     no such challenge of this caller
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
local status, ended_at = ending(c, redis.call('HGET', KEYS[2], pointer(c.purpose, c.binding)), a, now)
return cjson.encode({verdict = 'found', now = now, channel = c.channel or 'sms', status = status or 'pending', ended_at = ended_at,
  purpose = c.purpose, about = c.about, opened_at = tonumber(c.opened_at), expires_at = tonumber(c.expires_at),
  attempts_left = c.max_attempts - c.attempts, sends_left = c.max_sends - c.sends,
  delivery = c.delivery, delivery_reason = c.delivery_reason, generation = tonumber(c.generation)})
