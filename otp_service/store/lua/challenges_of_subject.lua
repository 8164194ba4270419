-- Which challenges of a subject may still be there: the live ones and those that its timeline tells of. Writes nothing.
--
-- KEYS[1]    subject     hash of pointers to the live challenges
-- KEYS[2]    timeline    see _timeline.lua
-- ARGV[1]    JSON: nothing
--
-- Returns JSON {verdict, …}
--   found         ids, of factors and devices too; some more than once
--- include: _clock.lua
--- include: _timeline.lua

local ids = {}
for _, live in pairs(hash(KEYS[1])) do ids[#ids + 1] = string.match(live, '^([^|]+)|') end
for _, noted in ipairs(redis.call('LRANGE', KEYS[2], -TIMELINE_MOST, -1)) do
  ids[#ids + 1] = string.match(noted, '^%d+ %S+ (%S+)')
end
return cjson.encode({verdict = 'found', ids = ids})
