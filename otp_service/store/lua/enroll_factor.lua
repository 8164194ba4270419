-- Write a pending factor, which counts for nothing until one code has confirmed it; or one that was confirmed elsewhere.
-- If the subject has as many as it may, a new one replaces the oldest pending one.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    proof       with an existing factor, spent here; absent when none was shown
-- ARGV[1]    JSON: offset, id, factor (its fields), ttl_ms, max_factors, life_ms, proof_required, step_ms (of one that
--            comes from elsewhere: it is confirmed, and steps until now may have been used there)
--
-- Returns JSON {verdict, …}
--   enrolled      expires_at (of a pending one)
--   exists        the id is there already: a retried call
--   unproven      see _unproven.lua
--   full          the subject has as many confirmed ones as it may
--- include: _clock.lua
--- include: _fence.lua
--- include: _factors.lua
--- include: _proof.lua
--- include: _unproven.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local found, count = factors(KEYS[1], now), 0
if found[a.id] then return cjson.encode({verdict = 'exists'}) end
if unproven(KEYS[3], a.proof_required, found, a, now) then return cjson.encode({verdict = 'unproven'}) end
local oldest
for id, factor in pairs(found) do
  count = count + 1
  if factor.status == 'pending' and (not oldest or factor.created_at < found[oldest].created_at) then oldest = id end
end
if count >= a.max_factors then
  if not oldest then return cjson.encode({verdict = 'full'}) end
  redis.call('HDEL', KEYS[1], oldest)
end
a.factor.attempts = 0
if a.step_ms then
  a.factor.status, a.factor.confirmed_at, a.factor.last_step = 'confirmed', now, math.floor(now / a.step_ms)
else
  a.factor.status, a.factor.expires_at, a.factor.last_step = 'pending', now + a.ttl_ms, -1
end
if KEYS[3] then
  redis.call('DEL', KEYS[3])
  a.factor.proven = true
end
a.factor.created_at = now
redis.call('HSET', KEYS[1], a.id, cjson.encode(a.factor))
keep(KEYS[1], now)
local word = a.step_ms and 'imported' or 'enrolled'
begin(KEYS[2], now, a.life_ms, line(now, word, a.id, 'factor=' .. a.factor.type,
  a.factor.expires_at and 'until=' .. a.factor.expires_at))
return cjson.encode({verdict = 'enrolled', expires_at = a.factor.expires_at})
