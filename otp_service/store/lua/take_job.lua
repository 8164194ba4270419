-- Look at a delivery job: hand out what a send needs, or settle the job when nothing may be sent any more.
--
-- Marks nothing on `send`: the fence is begin_send.lua, so that a worker may die in between and nothing is lost.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret
-- KEYS[3]    subject
-- KEYS[4]    queue
-- KEYS[5]    events      stream, see _event.lua
-- KEYS[6]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, id, generation, group, message_id
--
-- Returns JSON {verdict, …}
--   send          caller, purpose, binding, locale, digits, sealed, expires_at, now
--   dropped       reason: gone, ended, stale, settled, too_late (delivery becomes failed), lost (a worker died while
--                 sending: delivery becomes unknown, and nothing is ever sent again for this generation)
--   sending       somebody is sending it, and its time is not over
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _event.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)

local function drop(reason)
  redis.call('XACK', KEYS[4], a.group, a.message_id)
  redis.call('XDEL', KEYS[4], a.message_id)
  return cjson.encode({verdict = 'dropped', reason = reason})
end

local c = hash(KEYS[1])

local function settle(delivery, reason)
  redis.call('HSET', KEYS[1], 'delivery', delivery, 'delivery_reason', reason)
  go_on(KEYS[6], now, delivery, a.id, 'generation=' .. a.generation, 'why=' .. reason)
  tell(KEYS[5], c, a.id, 'delivery.' .. delivery, now, 'reason', reason, 'generation', a.generation)
end

if not c.status then return drop('gone') end
if tonumber(c.generation) ~= a.generation then return drop('stale') end
if c.delivery == 'sending' then
  if is_alive(c.sending_at or 0, c.sending_until, now) then return cjson.encode({verdict = 'sending'}) end
  settle('unknown', 'worker_lost')
  return drop('lost')
end
if c.delivery ~= 'queued' then return drop('settled') end
if ending(c, redis.call('HGET', KEYS[3], pointer(c.purpose, c.binding)), a, now) then
  settle('failed', 'ended_before_sending')
  return drop('ended')
end
local sealed = redis.call('HGET', KEYS[2], 'sealed')
if not sealed or tonumber(c.expires_at) - now < tonumber(c.min_life_ms) then
  settle('failed', 'too_late')
  return drop('too_late')
end
return cjson.encode({verdict = 'send', caller = c.caller, purpose = c.purpose, binding = c.binding,
  locale = c.locale, digits = tonumber(c.digits), sealed = sealed, expires_at = tonumber(c.expires_at), now = now})
