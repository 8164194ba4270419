-- The factors of one subject.
--
-- KEYS[1]    factors     see _factors.lua
-- ARGV[1]    JSON: offset
--
-- Returns JSON {verdict, …}
--   found         factors: id to fields
--- include: _clock.lua
--- include: _fence.lua
--- include: _factors.lua

local a = cjson.decode(ARGV[1])
return cjson.encode({verdict = 'found', factors = factors(KEYS[1], now_ms(a.offset))})
