-- Take a consumer out of its group if nothing is pending for it: looked at and done in one, since with the consumer goes
-- whatever is pending, and an entry may be on its way to it.
--
-- KEYS[1]    stream
-- ARGV[1]    JSON: offset, group, consumer
--
-- Returns JSON {verdict}
--   left          it is out, or never was in
--   pending       something is; whoever sweeps finds it

local a = cjson.decode(ARGV[1])
local pending = redis.pcall('XPENDING', KEYS[1], a.group, '-', '+', 1, a.consumer)
if pending.err then return cjson.encode({verdict = 'left'}) end  -- there is no such group any more
if #pending > 0 then return cjson.encode({verdict = 'pending'}) end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], a.group, a.consumer)
return cjson.encode({verdict = 'left'})
