-- Take back an opt-in for which the site certainly sent nothing; the one that it replaced is there again.
--
-- KEYS[1]    opt_in
-- ARGV[1]    JSON: offset, handle, retention_ms, restore (whether the site still has the row of the replaced one)
--
-- Returns JSON {verdict}: undone; stale (another request took its place, or its call went through)
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local o = hash(KEYS[1])
if o.handle ~= a.handle or o.asked == '1' then return cjson.encode({verdict = 'stale'}) end
redis.call('DEL', KEYS[1])
if a.restore and o.replaced ~= '' then
  local replaced = cjson.decode(o.replaced)
  for field, value in pairs(replaced) do redis.call('HSET', KEYS[1], field, value) end
  local left = tonumber(replaced.expires_at) + a.retention_ms - now_ms(a.offset)
  redis.call('PEXPIRE', KEYS[1], math.max(1, left))
end
return cjson.encode({verdict = 'undone'})
