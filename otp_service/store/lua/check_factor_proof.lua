-- Check the proof that a change of a subject's factors needs, before the service works for that change. Reads only: the
-- script of the change checks again and spends the proof.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    proof       with an existing factor; absent when none was shown
-- ARGV[1]    JSON: offset, proof_required
--
-- Returns JSON {verdict}
--   proven        the change may go on
--   unproven      see _unproven.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _factors.lua
--- include: _proof.lua
--- include: _unproven.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local missing = unproven(KEYS[2], a.proof_required, factors(KEYS[1], now), a, now)
return cjson.encode({verdict = missing and 'unproven' or 'proven'})
