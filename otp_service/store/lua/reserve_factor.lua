-- Spend one try at a subject's authenticators before any code is computed.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    guard       see _guard.lua
-- KEYS[3]    timeline    see _timeline.lua
-- KEYS[4]    attempt     see _attempt.lua
-- KEYS[5]    all         guard of all factors
-- ARGV[1]    JSON: offset, caller, digits (of the typed code), budget, id (of the pending factor to confirm; absent to
--            verify), max_attempts, life_ms
--
-- Returns JSON {verdict, …}
--   reserved      now, factors (id to fields: the confirmed ones, or the pending one), attempts_left,
--                 blocks: unless this try succeeds, the subject is blocked
--   accepted      at, factor_id, proof_kid: this very attempt has succeeded before
--   not_found     nothing to try; nothing counted
--   digits        the codes of all there is to try have so many; nothing counted
--   blocked       until_ms, now; nothing counted
--- include: _attempt.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _guard.lua
--- include: _factors.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local before = attempt(KEYS[4])
if before.accepted then return cjson.encode(before.accepted) end
local tried, any, digits = {}, false, nil
for id, factor in pairs(factors(KEYS[1], now)) do
  local wanted = factor.status == 'confirmed'
  if a.id then wanted = id == a.id and factor.status == 'pending' end
  if wanted and factor.caller == a.caller then
    if factor.digits == a.digits then tried[id], any = factor, true else digits = factor.digits end
  end
end
if not any and digits then return cjson.encode({verdict = 'digits', digits = digits}) end
if not any then return cjson.encode({verdict = 'not_found'}) end

-- Codes change with the step: against another one the same code is another guess.
local step = math.floor(now / 30000)
local counted = before.tried == step

if a.id then
  local factor = tried[a.id]
  if counted then
    return cjson.encode({verdict = 'reserved', now = now, factors = tried, attempts_left = before.left,
      blocks = before.blocks})
  end
  local blocked = blocked_in(KEYS[5], a.budget.all, now)
  if blocked then
    refused(KEYS[3], now, a.id, 'blocked', blocked, 'factor=totp')
    return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
  end
  factor.attempts = factor.attempts + 1
  if factor.attempts > a.max_attempts then
    redis.call('HDEL', KEYS[1], a.id)
    keep(KEYS[1], now)
    return cjson.encode({verdict = 'not_found'})
  end
  redis.call('HSET', KEYS[1], a.id, cjson.encode(factor))
  begin(KEYS[3], now, a.life_ms,
    line(now, 'tried', a.id, 'factor=totp', 'try=' .. factor.attempts, 'of=' .. a.max_attempts))
  local left = math.min(count_in(KEYS[5], a.budget.all, now), a.max_attempts - factor.attempts)
  local blocks = blocked_in(KEYS[5], a.budget.all, now) ~= nil
  write_attempt(KEYS[4], {tried = step, left = left, blocks = blocks})
  return cjson.encode({verdict = 'reserved', now = now, factors = tried, attempts_left = left, blocks = blocks})
end

if not counted then
  local blocked = blocked_until(KEYS[2], KEYS[5], a.budget, now)
  if blocked then
    refused(KEYS[3], now, '-', 'blocked', blocked, 'factor=totp')
    return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
  end
  local left, own = count_failure(KEYS[2], KEYS[5], a.budget, now)
  local most = a.budget.short_count
  begin(KEYS[3], now, a.life_ms, line(now, 'tried', '-', 'factor=totp', 'try=' .. most - own, 'of=' .. most))
  before = {tried = step, left = left, blocks = blocked_until(KEYS[2], KEYS[5], a.budget, now) ~= nil}
  write_attempt(KEYS[4], before)
end
return cjson.encode({verdict = 'reserved', now = now, factors = tried, attempts_left = before.left,
  blocks = before.blocks})
