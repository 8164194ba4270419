-- The message of an activation was found: remember its row until it is deleted, and forget the number.
--
-- KEYS[1]    trace
-- ARGV[1]    JSON: offset, rows (ids, joined by commas), keep_ms (how long they are remembered)
--
-- Returns JSON {verdict}
--   settled       remembered
--- include: _clock.lua
--- include: _trace.lua

local a = cjson.decode(ARGV[1])
remember_rows(KEYS[1], a.rows, now_ms(a.offset), a.keep_ms)
return cjson.encode({verdict = 'settled'})
