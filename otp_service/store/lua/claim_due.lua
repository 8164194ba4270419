-- Claim what is due, for a lease: a member that is not taken out or moved before its lease ends is due again.
--
-- KEYS[1]    due         zset: member -> when it is due, ms
-- ARGV[1]    JSON: offset, lease_ms, longest_ms (that anything in it waits), count (at most so many)
--
-- Returns JSON {verdict, …}
--   claimed       members (the longest due first), left (how many the zset holds in all), now
--- include: _clock.lua
--- include: _due.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local members = due(KEYS[1], now, a.longest_ms, a.count)
for _, member in ipairs(members) do redis.call('ZADD', KEYS[1], now + a.lease_ms, member) end
return cjson.encode({verdict = 'claimed', members = members, left = redis.call('ZCARD', KEYS[1]), now = now})
