-- A subject's timeline, and what it is blocked with now. Writes nothing but a block whose clock was wrong.
--
-- KEYS[1]    timeline    see _timeline.lua
-- KEYS[2..]  guards      see _guard.lua, in the order of `factors`; the last is that of all factors
-- ARGV[1]    JSON: offset, factors, budget
--
-- Returns JSON {verdict, …}
--   found         now, lines (the newest TIMELINE_MOST), blocks (factor to ms; -1: until freed)
--- include: _clock.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now, blocks = now_ms(a.offset), {}
for i, factor in ipairs(a.factors) do blocks[factor] = blocked_until(KEYS[i + 1], KEYS[#KEYS], a.budget, now) end
return cjson.encode({verdict = 'found', now = now, blocks = blocks,
  lines = redis.call('LRANGE', KEYS[1], -TIMELINE_MOST, -1)})
