-- The message of a trace was found: write what that says of its delivery, and remember the rows to delete, if any.
--
-- KEYS[1]    challenge
-- KEYS[2]    trace
-- KEYS[3]    traces
-- KEYS[4]    events      stream, see _event.lua
-- KEYS[5]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, id, generation, delivery (accepted or failed; "": the site uses another word), reason, rows
--            (ids, joined by commas; "": the trace has done its duty), keep_ms (how long the rows are remembered),
--            certain (true: corrects a delivery that was accepted, too)
--
-- The digest of the code stays: a provider may fail after it has sent (contract 3.1, quirk 1), so the code may arrive.
--
-- Returns JSON {verdict}
--   settled       the delivery was unknown, or accepted and this is certain; it is written
--   stale         the delivery is known, or of a newer code: only the trace was changed
--- include: _clock.lua
--- include: _event.lua
--- include: _trace.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now, member = now_ms(a.offset), a.id .. ':' .. a.generation
if a.rows == '' then
  forget_trace(KEYS[2], KEYS[3], member)
else
  remember_rows(KEYS[2], a.rows, now, a.keep_ms)
end
local c = hash(KEYS[1])
local open = c.delivery == 'unknown' or (a.certain and c.delivery == 'accepted')
if a.delivery == '' or tonumber(c.generation or 0) ~= a.generation or not open then
  return cjson.encode({verdict = 'stale'})
end
redis.call('HSET', KEYS[1], 'delivery', a.delivery, 'delivery_reason', a.reason)
go_on(KEYS[5], now, a.delivery, a.id, 'generation=' .. a.generation, 'why=' .. a.reason)
tell(KEYS[4], c, a.id, 'delivery.' .. a.delivery, now, 'reason', a.reason, 'generation', a.generation)
return cjson.encode({verdict = 'settled'})
