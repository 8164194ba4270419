-- Append to the audit log, if its newest entry is the one that the new entry follows; nothing is ever changed.
--
-- KEYS[1]    audit       stream; what is older than keep_ms goes as the next entry comes
-- ARGV[1]    JSON: offset, after (id of the newest entry, "" for none; absent: only look), id, fields (flat list),
--            keep_ms
--
-- Returns JSON {verdict, …}
--   appended
--   behind        now, id, number, mac of the newest entry (absent when there is none): the entry must follow that
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if a.after ~= (newest and newest[1] or '') then
  local fields = {}
  for i = 1, newest and #newest[2] or 0, 2 do fields[newest[2][i]] = newest[2][i + 1] end
  return cjson.encode({verdict = 'behind', now = now, id = newest and newest[1], number = fields.number,
    mac = fields.mac})
end
redis.call('XADD', KEYS[1], 'MINID', '=', string.format('%.0f', now - a.keep_ms), a.id, unpack(a.fields))
return cjson.encode({verdict = 'appended'})
