-- Look at a trace that is due: what it says, and how the delivery of its generation stands now.
--
-- KEYS[1]    challenge   may be gone
-- KEYS[2]    trace       hash: number (sealed), digest, kid, caller, purpose, binding, began_at, wall_at, ends_at; once
--                        the message is found `rows` (ids, joined by commas), began_at and ends_at only
-- KEYS[3]    traces
-- ARGV[1]    JSON: offset, id, generation
--
-- Returns JSON {verdict, …}
--   open          trace (its fields), delivery (of this generation; "" when the challenge is gone or a newer code is on
--                 its way), age_ms, left_ms (below 0: its time is over)
--   sending       wait_ms: it is being sent, or its worker died and nobody has noticed yet
--   gone          no such trace any more; off the list
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local trace = hash(KEYS[2])
if not trace.ends_at then
  forget_trace(KEYS[2], KEYS[3], a.id .. ':' .. a.generation)
  return cjson.encode({verdict = 'gone'})
end
local c = redis.call('HMGET', KEYS[1], 'generation', 'delivery', 'sending_until', 'sending_at')
local delivery = tonumber(c[1] or 0) == a.generation and c[2] or ''
if delivery == 'sending' then
  local left = is_alive(c[4] or 0, c[3], now) and tonumber(c[3]) - now or 0
  return cjson.encode({verdict = 'sending', wait_ms = left + 2000})
end
return cjson.encode({verdict = 'open', trace = trace, delivery = delivery, left_ms = left_of(trace, now),
  age_ms = now - trace.began_at})
