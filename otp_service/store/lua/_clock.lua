-- Redis' own clock in milliseconds, as _deadline.lua has read it. `offset` is zero outside tests: that is how they move
-- time without waiting. Where it is a table, time stands still at its `at`: then it does not matter how fast the
-- machine is.
local function now_ms(offset)
  if type(offset) == 'table' then return offset.at end
  return redis_now + offset
end

-- Redis' clock may jump. A time that was written as the present and now lies in the future proves it: the clock was
-- ahead then, or was set back since. Every wait and every life compares its beginning as well as its end, so that none
-- lasts longer than its own length, whatever the clock did. Steps of a clock that is kept by NTP are far below this.
local SET_BACK_MS = 5 * 1000

local function is_future(at, now) return now < tonumber(at) - SET_BACK_MS end

-- Whether what began and ends at these times is valid now.
local function is_alive(began_at, ends_at, now)
  return not is_future(began_at, now) and now < tonumber(ends_at)
end

-- A hash as a table, empty when there is none.
local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
