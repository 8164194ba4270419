-- Put a trace off, or forget it.
--
-- KEYS[1]    trace
-- KEYS[2]    traces
-- ARGV[1]    JSON: offset, member, wait_ms (until the next look; below 0: forget it)
--
-- Returns JSON {verdict}
--   left          it is put off
--   forgotten     it is gone, by this call or before it
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
if a.wait_ms < 0 or redis.call('EXISTS', KEYS[1]) == 0 then
  forget_trace(KEYS[1], KEYS[2], a.member)
  return cjson.encode({verdict = 'forgotten'})
end
trace_due(KEYS[2], now_ms(a.offset) + a.wait_ms, a.member)
return cjson.encode({verdict = 'left'})
