-- A guard counts the wrong codes of one subject with one factor: a hash of
--   failures       JSON list of ms, at most `long.count` of them
--   streak         failures without a success between
--   blocked_until  ms; trying does not move it
-- Failures are counted before the hash is computed and taken back only by success, so a crash counts as a failure.

-- Until when the factor is blocked, in ms, or nil. -1 means until an operator or another factor frees it.
local function blocked_until(key, budget, now)
  local guard = redis.call('HMGET', key, 'blocked_until', 'streak')
  if tonumber(guard[2] or 0) >= budget.in_a_row then return -1 end
  local until_ms = tonumber(guard[1] or 0)
  if until_ms > now then return until_ms end
  return nil
end

-- Count one failure, and block when it is the last that a window allows; return how many the short window has left.
local function count_failure(key, budget, now)
  local failures = cjson.decode(redis.call('HGET', key, 'failures') or '[]')
  local kept, short = {}, 1
  for _, at in ipairs(failures) do
    if at > now - budget.long_ms then kept[#kept + 1] = at end
    if at > now - budget.short_ms then short = short + 1 end
  end
  kept[#kept + 1] = now
  local until_ms = 0
  if short >= budget.short_count then until_ms = now + budget.block_ms end
  if #kept >= budget.long_count then until_ms = math.max(until_ms, kept[1] + budget.long_ms) end
  redis.call('HSET', key, 'failures', cjson.encode(kept))
  if until_ms > 0 then redis.call('HSET', key, 'blocked_until', until_ms) end
  redis.call('HINCRBY', key, 'streak', 1)
  redis.call('PEXPIRE', key, budget.memory_ms)
  return math.max(0, budget.short_count - short)
end
