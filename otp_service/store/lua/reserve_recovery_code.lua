-- Spend one try at a subject's recovery codes, and hand out the one candidate.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- KEYS[2]    guard       see _guard.lua
-- KEYS[3]    timeline    see _timeline.lua
-- KEYS[4]    attempt     see _attempt.lua
-- KEYS[5]    all         guard of all factors
-- ARGV[1]    JSON: offset, index, budget, life_ms, capacity (whether the caller can compare a digest now)
--
-- Returns JSON {verdict, …}
--   reserved      phc of the candidate (absent when there is none), attempts_left,
--                 blocks: unless this try succeeds, the subject is blocked
--   accepted      at, remaining, proof_kid: this very attempt has succeeded before
--   not_found     the subject has no codes; nothing counted
--   blocked       until_ms, now; nothing counted
--   no_capacity   the answer depends on the code; nothing counted. It is the same whether there is a candidate or not
--- include: _attempt.lua
--- include: _clock.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local before = attempt(KEYS[4])
if before.accepted then return cjson.encode(before.accepted) end
if redis.call('EXISTS', KEYS[1]) == 0 then return cjson.encode({verdict = 'not_found'}) end
local phc = redis.call('HGET', KEYS[1], a.index) or nil
local repeated = before.tried == (phc or '')
if not repeated then
  local blocked = blocked_until(KEYS[2], KEYS[5], a.budget, now)
  if blocked then
    refused(KEYS[3], now, '-', 'blocked', blocked, 'factor=recovery')
    return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
  end
end
if not a.capacity then return cjson.encode({verdict = 'no_capacity'}) end
if not repeated then
  local left, own = count_failure(KEYS[2], KEYS[5], a.budget, now)
  local most = a.budget.short_count
  begin(KEYS[3], now, a.life_ms, line(now, 'tried', '-', 'factor=recovery', 'try=' .. most - own, 'of=' .. most))
  before = {tried = phc or '', left = left, blocks = blocked_until(KEYS[2], KEYS[5], a.budget, now) ~= nil}
  write_attempt(KEYS[4], before)
end
return cjson.encode({verdict = 'reserved', phc = phc, attempts_left = before.left, blocks = before.blocks})
