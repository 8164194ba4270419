-- Queue a new code for a challenge; the old code is dead at once, or after the purpose's grace.
--
-- KEYS       as open_challenge.lua
-- ARGV[1]    JSON: offset, id, caller, resend_id, budget, queue_limit, caller_share, opt_in_purpose, opt_in_limit, limits
--
-- Returns JSON {verdict, …}
--   resent        purpose, expires_at, sends_left, attempts_left, windows, next_ms, sealed
--   not_found     no such challenge of this caller
--   ended         status, ended_at
--   blocked, limited, overloaded   as open_challenge.lua; `limited` by `challenge_sends` when its own sends are spent
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _guard.lua
--- include: _limits.lua
--- include: _queue.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local c = hash(KEYS[1])
if c.caller ~= a.caller then return cjson.encode({verdict = 'not_found'}) end
local own = pointer(c.purpose, c.binding)
local status, ended_at = ending(c, redis.call('HGET', KEYS[3], own), a, now)
if status then return cjson.encode({verdict = 'ended', status = status, ended_at = ended_at}) end

local function limited(limit, wait_ms, window_ms)
  refused(KEYS[7], now, a.id, limit, now + wait_ms)
  return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait_ms, window_ms = window_ms})
end

if redis.call('EXISTS', KEYS[2]) == 0 then  -- the number to send to is gone: Redis' clock was ahead for a while
  return cjson.encode({verdict = 'ended', status = 'expired', ended_at = now})
end

local again = c.resend_id == a.resend_id
if not again then
  local blocked = blocked_until(KEYS[4], KEYS[9], a.budget, now)
  if blocked then
    refused(KEYS[7], now, a.id, 'blocked', blocked)
    return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
  end
  if tonumber(c.attempts) >= tonumber(c.max_attempts) then
    return cjson.encode({verdict = 'ended', status = 'exhausted', ended_at = tonumber(c.attempted_at)})
  end
  if tonumber(c.sends) >= tonumber(c.max_sends) then
    return limited('challenge_sends', c.expires_at - now)
  end
  local limit, wait, window = refusing(a.limits, now)
  if limit then return limited(limit, wait, window) end
  local full = queue_refuses(KEYS[5], KEYS[8], a, c.purpose, now)
  if full then return cjson.encode({verdict = 'overloaded', why = full}) end

  local generation = c.generation + 1
  charge(a.limits, now, a.id .. ':' .. generation)
  local old_expires_at = tonumber(c.expires_at)
  c.sends, c.expires_at = c.sends + 1, now + c.ttl_ms
  redis.call('HSET', KEYS[1], 'generation', generation, 'sends', c.sends, 'expires_at', c.expires_at,
    'delivery', 'queued', 'delivery_reason', '', 'resend_id', a.resend_id)
  redis.call('PEXPIRE', KEYS[1], c.ttl_ms + c.retention_ms)
  if tonumber(c.grace_ms) > 0 then
    local current = redis.call('HMGET', KEYS[2], 'digest', 'kid')
    if current[1] then
      redis.call('HSET', KEYS[2], 'old_digest', current[1], 'old_kid', current[2], 'old_generation', c.generation,
        'old_until', math.min(now + c.grace_ms, old_expires_at))
    end
  end
  redis.call('HDEL', KEYS[2], 'digest', 'kid')
  redis.call('PEXPIRE', KEYS[2], c.ttl_ms)
  redis.call('HSET', KEYS[3], own, a.id .. '|' .. now .. '|' .. c.expires_at)
  redis.call('PEXPIRE', KEYS[3], c.ttl_ms + c.retention_ms)
  enqueue(KEYS[5], KEYS[8], a, c.purpose, generation)
  begin(KEYS[7], now, c.ttl_ms + c.retention_ms,
    line(now, 'resent', a.id, 'until=' .. c.expires_at, 'generation=' .. generation))
end

local windows, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'resent', now = now, purpose = c.purpose, expires_at = tonumber(c.expires_at),
  sends_left = c.max_sends - c.sends, attempts_left = c.max_attempts - c.attempts, windows = windows,
  next_ms = next_ms})
