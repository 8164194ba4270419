-- What a proof proves, without redeeming it. Writes nothing.
--
-- KEYS[1]    proof
-- ARGV[1]    JSON: offset, caller (that may redeem it)
--
-- Returns JSON {verdict, …}
--   found         fields: what the proof proves
--   inactive      unknown, spent, past its end, or meant for another caller
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local fields = hash(KEYS[1])
if fields.audience ~= a.caller or not is_alive(fields.verified_at, fields.expires_at, now_ms(a.offset)) then
  return cjson.encode({verdict = 'inactive'})
end
return cjson.encode({verdict = 'found', fields = fields})
