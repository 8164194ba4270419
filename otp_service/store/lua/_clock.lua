-- Redis' own clock in milliseconds. `offset` is zero outside tests: that is how they move time without waiting. Where it
-- is a table, time stands still at its `at`: then it does not matter how fast the machine is.
local function now_ms(offset)
  if type(offset) == 'table' then return offset.at end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + offset
end

-- A hash as a table, empty when there is none.
local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
