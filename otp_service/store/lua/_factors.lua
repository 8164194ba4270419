-- The factors of one subject: a hash of factor id to JSON
--   {type, name, caller, about (sealed: whose it is), seed (sealed), algorithm, digits, status (pending, confirmed),
--    created_at, confirmed_at, expires_at (of a pending one), attempts (at confirming it), last_step,
--    ahead_step (the last step of a clock that ran ahead),
--    proven (true when another factor has proven whose it is)}
-- The hash lives for ever once a factor is confirmed, and as long as its newest pending one before.

local function factors(key, now)
  local found = {}
  for id, text in pairs(hash(key)) do
    local factor = cjson.decode(text)
    if factor.status == 'confirmed' or is_alive(factor.created_at, factor.expires_at, now) then
      found[id] = factor
    else
      redis.call('HDEL', key, id)
    end
  end
  return found
end

local STEP_MS, STEPS_AHEAD = 30 * 1000, 10
local STEPS_AFTER = 1  -- a person's clock may be ahead by so many steps that are accepted

-- Whether this step or a later one was accepted before. A last step far in the future is of a clock that ran ahead: it
-- locks nobody out until then, but all steps until now count as accepted, and so do those near it once they come. After
-- Redis went back in time all steps that may have been accepted before that count as accepted too (_fence.lua).
local function is_spent(key, id, factor, step, a, now)
  local current = math.floor(now / STEP_MS)
  if factor.last_step > current + STEPS_AHEAD then
    factor.ahead_step, factor.last_step = math.max(factor.last_step, factor.ahead_step or 0), current
    redis.call('HSET', key, id, cjson.encode(factor))
  end
  local ahead = factor.ahead_step
  -- A time in the future was read from a clock that was set back since; the next tick writes it anew.
  local fenced_at = is_future(a.fenced_at or 0, now) and 0 or a.fenced_at or 0
  if step <= math.floor(fenced_at / STEP_MS) + STEPS_AFTER then return true end
  return step <= factor.last_step or (ahead ~= nil and step <= ahead and step > ahead - STEPS_AHEAD)
end

local function keep(key, now)
  local newest = nil
  for _, factor in pairs(factors(key, now)) do
    if factor.status == 'confirmed' then return redis.call('PERSIST', key) end
    newest = math.max(newest or 0, factor.expires_at)
  end
  if newest then redis.call('PEXPIRE', key, newest - now) end
end
