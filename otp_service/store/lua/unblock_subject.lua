-- Give a blocked subject `tries` more tries with one factor. Nothing is forgotten: so many failures leave the short
-- window and stay in the long one, and the row of failures without a success goes on where `tries` are left.
--
-- KEYS[1]    guard       see _guard.lua
-- KEYS[2]    timeline    see _timeline.lua
-- ARGV[1]    JSON: offset, factor, tries, budget, life_ms
--
-- Returns JSON {verdict, …}
--   unblocked     streak: failures without a success, as it counts on
--   not_blocked   there was nothing to do
--- include: _clock.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if not blocked_until(KEYS[1], a.budget, now) then return cjson.encode({verdict = 'not_blocked'}) end
local moved, recent = failures_of(KEYS[1], now), 0
for i = #moved, 1, -1 do
  if moved[i] > now - a.budget.short_ms then
    recent = recent + 1
    if recent > a.budget.short_count - a.tries then moved[i] = moved[i] - a.budget.short_ms end
  end
end
-- The long window must leave room for the tries too: its oldest entries go.
while #moved > math.max(0, a.budget.long_count - a.tries) do table.remove(moved, 1) end
local streak = tonumber(redis.call('HGET', KEYS[1], 'streak') or 0)
streak = math.min(streak, math.max(0, a.budget.in_a_row - a.tries))
if #moved > 0 then
  redis.call('HSET', KEYS[1], 'failures', cjson.encode(moved))
else
  redis.call('HDEL', KEYS[1], 'failures')
end
redis.call('HSET', KEYS[1], 'blocked_until', 0, 'streak', streak)
begin(KEYS[2], now, a.life_ms, line(now, 'unblocked', '-', 'factor=' .. a.factor))
return cjson.encode({verdict = 'unblocked', streak = streak})
