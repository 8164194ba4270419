-- Give a blocked subject `tries` more tries with one factor: its own guard and that of all factors leave room for them. Nothing is forgotten: so many failures leave the short
-- window and stay in the long one, and the row of failures without a success goes on where `tries` are left.
--
-- KEYS[1]    guard       see _guard.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    all         guard of all factors
-- ARGV[1]    JSON: offset, factor, tries, budget, life_ms
--
-- Returns JSON {verdict, …}
--   unblocked     it has them
--   not_blocked   there was nothing to do
--- include: _clock.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if not blocked_until(KEYS[1], KEYS[3], a.budget, now) then return cjson.encode({verdict = 'not_blocked'}) end

local function free(key, budget)
  if redis.call('EXISTS', key) == 0 then return end  -- nothing to free, and what is written would have no end
  local moved, recent = failures_of(key, now), 0
  for i = #moved, 1, -1 do
    if moved[i] > now - budget.short_ms then
      recent = recent + 1
      if recent > budget.short_count - a.tries then moved[i] = moved[i] - budget.short_ms end
    end
  end
  -- The long window must leave room for the tries too: its oldest entries go.
  while #moved > math.max(0, budget.long_count - a.tries) do table.remove(moved, 1) end
  if #moved > 0 then
    redis.call('HSET', key, 'failures', cjson.encode(moved))
  else
    redis.call('HDEL', key, 'failures')
  end
  local streak = tonumber(redis.call('HGET', key, 'streak') or 0)
  if budget.in_a_row then streak = math.min(streak, math.max(0, budget.in_a_row - a.tries)) end
  redis.call('HSET', key, 'blocked_until', 0, 'streak', streak)
end

free(KEYS[1], a.budget)
free(KEYS[3], a.budget.all)
begin(KEYS[2], now, a.life_ms, line(now, 'unblocked', '-', 'factor=' .. a.factor))
return cjson.encode({verdict = 'unblocked'})
