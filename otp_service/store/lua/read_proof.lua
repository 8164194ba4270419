-- What a proof proves, without redeeming it. Writes nothing.
--
-- KEYS[1]    proof
-- ARGV[1]    JSON: offset, caller (that may redeem it)
--
-- Returns JSON {verdict, …}
--   found         fields: what the proof proves
--   inactive      unknown, spent, past its end, or meant for another caller
--- include: _clock.lua
--- include: _fence.lua
--- include: _proof.lua

local a = cjson.decode(ARGV[1])
local fields = hash(KEYS[1])
if fields.audience ~= a.caller or not is_active(KEYS[1], a, now_ms(a.offset)) then
  return cjson.encode({verdict = 'inactive'})
end
return cjson.encode({verdict = 'found', fields = fields})
