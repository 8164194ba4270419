-- Redeem a proof: whoever asks first gets what it proves.
--
-- KEYS[1]    proof       hash written by consume_challenge.lua
-- ARGV[1]    JSON: offset, caller (that may redeem it)
--
-- Returns JSON {verdict, …}
--   spent         fields: what the proof proves
--   inactive      unknown, spent, past its end, or meant for another caller
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local fields = hash(KEYS[1])
if fields.audience ~= a.caller or now_ms(a.offset) >= tonumber(fields.expires_at) then
  return cjson.encode({verdict = 'inactive'})
end
redis.call('DEL', KEYS[1])
return cjson.encode({verdict = 'spent', fields = fields})
