-- Write how a send went, and take the job off the queue.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret      loses its digest when the code provably never left: nobody can know it
-- KEYS[3]    queue
-- KEYS[4]    trace       as begin_send.lua left it
-- KEYS[5]    traces
-- KEYS[6]    events      stream, see _event.lua
-- KEYS[7]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, id, generation, delivery (accepted, failed or unknown), reason, group, message_id,
--            look_ms (when the trace is to be looked at; below 0: it has done its duty)
--
-- Returns JSON {verdict}
--   settled       written
--   stale         a newer generation is on its way, or the send was given up before: nothing written
--- include: _clock.lua
--- include: _event.lua
--- include: _trace.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
redis.call('XACK', KEYS[3], a.group, a.message_id)
redis.call('XDEL', KEYS[3], a.message_id)
if a.look_ms < 0 then
  forget_trace(KEYS[4], KEYS[5], a.id .. ':' .. a.generation)
elseif redis.call('EXISTS', KEYS[4]) == 1 then
  trace_due(KEYS[5], now + a.look_ms, a.id .. ':' .. a.generation)
end
local c = hash(KEYS[1])
if tonumber(c.generation or 0) ~= a.generation or c.delivery ~= 'sending' then return cjson.encode({verdict = 'stale'}) end
redis.call('HSET', KEYS[1], 'delivery', a.delivery, 'delivery_reason', a.reason)
if a.delivery == 'failed' then redis.call('HDEL', KEYS[2], 'digest', 'kid') end
go_on(KEYS[7], now, a.delivery, a.id, 'generation=' .. a.generation, 'why=' .. a.reason)
tell(KEYS[6], c, a.id, 'delivery.' .. a.delivery, now, 'reason', a.reason, 'generation', a.generation)
return cjson.encode({verdict = 'settled'})
