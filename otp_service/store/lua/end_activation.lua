-- The site has answered: its message was written until now, and can be looked for.
--
-- KEYS[1]    trace
-- KEYS[2]    traces
-- ARGV[1]    JSON: offset, member
--
-- Returns JSON {verdict}
--   due           it is looked at next
--   gone          there is no trace any more
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'number') == 0 then return cjson.encode({verdict = 'gone'}) end
redis.call('HSET', KEYS[1], 'wall_until', now_ms(0))
trace_due(KEYS[2], now_ms(a.offset), a.member)
return cjson.encode({verdict = 'due'})
