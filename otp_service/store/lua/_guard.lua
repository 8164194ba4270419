-- A guard counts the wrong codes of one subject with one factor: a hash of
--   failures       JSON list of ms, at most `long.count` of them
--   streak         failures without a success between
--   blocked_until  ms; trying does not move it
--   blocked_at     ms; when that was written
-- Failures are counted before the hash is computed and taken back only by success, so a crash counts as a failure.
--
-- Each try counts in two guards: that of its factor, and that of all the subject's factors together, which has a budget
-- of its own (`budget.all`) and no streak: else who guesses one factor would disable all of them.

local function blocked_in(key, budget, now)
  local guard = redis.call('HMGET', key, 'blocked_until', 'streak', 'blocked_at')
  if budget.in_a_row and tonumber(guard[2] or 0) >= budget.in_a_row then return -1 end
  local until_ms, at = tonumber(guard[1] or 0), tonumber(guard[3] or 0)
  if until_ms > now and is_future(at, now) then  -- the block lasts as long as it was to last, from now
    until_ms = now + until_ms - at
    redis.call('HSET', key, 'blocked_until', until_ms, 'blocked_at', now)
  end
  if until_ms > now then return until_ms end
  return nil
end

-- When the failures were, in ms. One in the future (see _clock.lua) counts as one of now: it is not forgotten.
local function failures_of(key, now)
  local failures = cjson.decode(redis.call('HGET', key, 'failures') or '[]')
  for i, at in ipairs(failures) do failures[i] = math.min(at, now) end
  return failures
end

-- Until when the factor is blocked, by its own guard or that of all factors, in ms, or nil. -1 means until an operator or
-- success frees it.
local function blocked_until(key, all, budget, now)
  local own, together = blocked_in(key, budget, now), blocked_in(all, budget.all, now)
  if own == -1 or not together then return own end
  return math.max(own or 0, together)
end

local function count_in(key, budget, now)
  local kept, short = {}, 1
  for _, at in ipairs(failures_of(key, now)) do
    if at > now - budget.long_ms then kept[#kept + 1] = at end
    if at > now - budget.short_ms then short = short + 1 end
  end
  kept[#kept + 1] = now
  local until_ms = 0
  if short >= budget.short_count then until_ms = now + budget.block_ms end
  if #kept >= budget.long_count then until_ms = math.max(until_ms, kept[1] + budget.long_ms) end
  redis.call('HSET', key, 'failures', cjson.encode(kept))
  if until_ms > 0 then redis.call('HSET', key, 'blocked_until', until_ms, 'blocked_at', now) end
  if budget.in_a_row then redis.call('HINCRBY', key, 'streak', 1) end
  redis.call('PEXPIRE', key, budget.memory_ms)
  return math.max(0, budget.short_count - short)
end

-- Count one failure, and block when it is the last that a window allows; return how many tries the short windows have
-- left, and how many that of the factor alone has.
local function count_failure(key, all, budget, now)
  local own = count_in(key, budget, now)
  return math.min(own, count_in(all, budget.all, now)), own
end

local function take_back_in(key, budget, now)
  local failures = failures_of(key, now)
  local last = table.remove(failures)
  if not last then return end
  redis.call('HSET', key, 'failures', cjson.encode(failures))
  if budget.in_a_row then redis.call('HINCRBY', key, 'streak', -1) end
  if tonumber(redis.call('HGET', key, 'blocked_at') or -1) == last then
    redis.call('HDEL', key, 'blocked_until', 'blocked_at')
  end
  local streak = tonumber(redis.call('HGET', key, 'streak') or 0)
  if #failures == 0 and streak <= 0 and redis.call('HEXISTS', key, 'blocked_until') == 0 then
    redis.call('DEL', key)  -- a subject that never failed leaves nothing
  end
end

-- Take back the newest failure, and the block that it led to: what was typed was no guess.
local function take_back_failure(key, all, budget, now)
  take_back_in(key, budget, now)
  take_back_in(all, budget.all, now)
end
