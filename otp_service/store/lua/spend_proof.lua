-- Redeem a proof: whoever of its audience asks first gets what it proves, if it is what they ask for.
--
-- A stranger never spends a proof. Its audience always does, also by asking for another purpose or binding: a proof that
-- turns up in the wrong place was taken from somebody, and one look must not become many guesses at a binding.
--
-- KEYS[1]    proof       hash, see _proof.lua
-- ARGV[1]    JSON: offset, caller (that may redeem it), purpose (absent: any), binding ("" for none)
--
-- Returns JSON {verdict, …}
--   spent         fields: what the proof proves
--   misplaced     spent too: for another purpose or binding than asked for
--   inactive      unknown, spent, past its end, or meant for another caller
--- include: _clock.lua
--- include: _fence.lua
--- include: _proof.lua

local a = cjson.decode(ARGV[1])
local fields = hash(KEYS[1])
if fields.audience ~= a.caller then return cjson.encode({verdict = 'inactive'}) end
local active = is_active(KEYS[1], a, now_ms(a.offset))
redis.call('DEL', KEYS[1])
if not active then
  return cjson.encode({verdict = 'inactive'})
end
if fields.binding ~= a.binding or (a.purpose and fields.purpose ~= a.purpose) then
  return cjson.encode({verdict = 'misplaced'})
end
return cjson.encode({verdict = 'spent', fields = fields})
