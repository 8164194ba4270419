-- Claim endpoints that are due, for a lease: one that is not settled before its lease ends is due again. No caller gets
-- more places than its share, and endpoints whose last try failed get no more than theirs: an endpoint that hangs holds
-- its place for a whole deadline.
--
-- KEYS[1]    due         see enqueue_webhook.lua
-- KEYS[2]    failing     the same, of endpoints whose last try failed
-- ARGV[1]    JSON: offset, lease_ms, longest_ms (that anything in it waits), count (free places), failing (how many of them endpoints may take whose last try
--            failed), share (places of one caller), busy (caller -> places that it has now)
--
-- Returns JSON {verdict, …}
--   claimed       members: a list of {endpoint, failing}, the longest due first
--- include: _clock.lua
--- include: _due.lua

local SEEN = 1000  -- operators make endpoints, a few for each caller
local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local busy, claimed = a.busy, {}

local function claim(key, most, failing)
  for _, endpoint in ipairs(due(key, now, a.longest_ms, SEEN)) do
    if most <= 0 then return end
    local caller = string.match(endpoint, '^[^/]*')
    local places = busy[caller] or 0
    if places < a.share then
      busy[caller], most = places + 1, most - 1
      redis.call('ZADD', key, now + a.lease_ms, endpoint)
      claimed[#claimed + 1] = {endpoint, failing}
    end
  end
end

claim(KEYS[1], a.count, false)
claim(KEYS[2], math.min(a.failing, a.count - #claimed), true)
return cjson.encode({verdict = 'claimed', members = claimed})
