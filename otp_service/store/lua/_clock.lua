-- Redis' own clock in milliseconds, as _deadline.lua has read it. `offset` is zero outside tests: that is how they move
-- time without waiting. Where it is a table, time stands still at its `at`: then it does not matter how fast the
-- machine is.
local function now_ms(offset)
  if type(offset) == 'table' then return offset.at end
  return redis_now + offset
end

-- A hash as a table, empty when there is none.
local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
