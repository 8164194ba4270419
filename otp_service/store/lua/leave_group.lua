-- Take a consumer out of its group if nothing is pending for it: looked at and done in one, since with the consumer goes
-- whatever is pending, and an entry may be on its way to it. With it go those that ended without leaving.
--
-- KEYS[1]    stream
-- ARGV[1]    JSON: offset, group, consumer, abandoned_ms (who was not heard of for so long has ended; should it not have,
--            it is in again with the next thing that it asks)
--
-- Returns JSON {verdict}
--   left          it is out, or never was in
--   pending       something is; whoever sweeps finds it

local a = cjson.decode(ARGV[1])
local pending = redis.pcall('XPENDING', KEYS[1], a.group, '-', '+', 1, a.consumer)
if pending.err then return cjson.encode({verdict = 'left'}) end  -- there is no such group any more
if #pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], a.group, a.consumer) end

-- A user whose ACL is older may not ask; then their names stay.
for _, told in ipairs(redis.pcall('XINFO', 'CONSUMERS', KEYS[1], a.group)) do
  local other = {}
  for i = 1, #told, 2 do other[told[i]] = told[i + 1] end
  if other.pending == 0 and other.idle >= a.abandoned_ms then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], a.group, other.name)
  end
end
return cjson.encode({verdict = #pending == 0 and 'left' or 'pending'})
