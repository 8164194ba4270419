-- Leave a trace of an activation that the site is about to be asked for: the site draws its code, so nobody else has it.
--
-- KEYS[1]    trace       hash, born here: number (sealed), began_at, wall_at, wall_until, ends_at
-- KEYS[2]    traces
-- ARGV[1]    JSON: offset, member, number, longest_ms (how long the call lasts at most), trace_ms (how long to look)
--
-- Returns JSON {verdict}
--   left          the trace is there; look at it after the longest call at the latest
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
local now, wall = now_ms(a.offset), now_ms(0)  -- no test's offset moves the provider's clock
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'number', a.number, 'began_at', now, 'wall_at', wall, 'wall_until', wall + a.longest_ms,
  'ends_at', now + a.trace_ms)
redis.call('PEXPIRE', KEYS[1], a.trace_ms + LAST_LOOK_MS)
trace_due(KEYS[2], now + a.longest_ms, a.member)
return cjson.encode({verdict = 'left'})
