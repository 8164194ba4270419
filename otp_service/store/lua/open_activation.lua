-- Look at the trace of an activation that is due.
--
-- KEYS[1]    trace       see begin_activation.lua; once the message is found: rows, began_at and ends_at only
-- KEYS[2]    traces
-- ARGV[1]    JSON: offset, member
--
-- Returns JSON {verdict, …}
--   open          trace (its fields), age_ms, left_ms (below 0: its time is over), wall_now
--   gone          no such trace any more; off the list
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local trace = hash(KEYS[1])
if not trace.ends_at then
  forget_trace(KEYS[1], KEYS[2], a.member)
  return cjson.encode({verdict = 'gone'})
end
return cjson.encode({verdict = 'open', trace = trace, age_ms = now - trace.began_at, left_ms = left_of(trace, now),
  wall_now = now_ms(0)})
