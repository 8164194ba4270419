-- Look at an endpoint's messages that are due. Marks nothing: the endpoint's turn is the lease (claim_due.lua).
--
-- KEYS[1]    waiting     see enqueue_webhook.lua
-- KEYS[2]    records
-- ARGV[1]    JSON: offset, longest_ms (that a message waits), count (at most so many)
--
-- Returns JSON {verdict, …}
--   taken         messages: a list of {message, record}, the longest due first
--- include: _clock.lua
--- include: _due.lua

local a = cjson.decode(ARGV[1])
local found = {}
for _, message in ipairs(due(KEYS[1], now_ms(a.offset), a.longest_ms, a.count)) do
  local record = redis.call('HGET', KEYS[2], message)
  if record then found[#found + 1] = {message, record} else redis.call('ZREM', KEYS[1], message) end
end
return cjson.encode({verdict = 'taken', messages = found})
