-- Messages that are given up: kept so that an operator can send them again, the newest of them, for some time.
local function bury(waiting, records, dead, message, now, cap, keep_ms)
  redis.call('ZREM', waiting, message)
  redis.call('ZADD', dead, now, message)
  local old = redis.call('ZRANGEBYSCORE', dead, '-inf', now - keep_ms)
  local over = redis.call('ZCARD', dead) - #old - cap
  if over > 0 then
    for _, each in ipairs(redis.call('ZRANGE', dead, #old, #old + over - 1)) do old[#old + 1] = each end
  end
  for _, each in ipairs(old) do
    redis.call('ZREM', dead, each)
    redis.call('HDEL', records, each)
  end
  redis.call('PEXPIRE', dead, keep_ms)
end
