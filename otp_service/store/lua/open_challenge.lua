-- Open a challenge: when all limits pass, count, write it `pending` and queue its id; else touch nothing. Where nothing is
-- sealed there is nothing to send, and nothing is queued: the person has the code already.
--
-- KEYS[1]    challenge   hash, born here
-- KEYS[2]    secret      hash of what must not outlive the challenge: sealed recipient, later the digest
-- KEYS[3]    subject     hash of pointers to the live challenges
-- KEYS[4]    guard       of the channel, see _guard.lua
-- KEYS[5]    queue       stream of delivery jobs: ids only
-- KEYS[6]    events      stream, see _event.lua
-- KEYS[7]    timeline    see _timeline.lua
-- KEYS[8]    shares      see _queue.lua
-- KEYS[9]    all         guard of all factors
-- KEYS[10..] limits      see _limits.lua
-- ARGV[1]    JSON: offset, id, channel, caller, purpose, binding, about, sealed, region, locale, digits, max_attempts,
--            max_sends, ttl_ms, grace_ms, min_life_ms, retention_ms, max_bindings, queue_limit, caller_share,
--            opt_in_purpose and opt_in_limit (see _queue.lua), budget, limits, events (whether the caller has a webhook
--            endpoint), group and consumer (the consumer that takes the queue's next job along, which is this one unless
--            older ones wait; '': nobody)
--
-- Returns JSON {verdict, …}
--   opened        expires_at, sends_left, windows, next_ms, replaced (id of the challenge that this one replaces),
--                 job (message_id, id, generation and behind of the job taken along)
--   exists        the id is there already: a retried call
--   blocked       until_ms (-1: until freed)
--   limited       limit, wait_ms, window_ms (of a window only)
--   overloaded    why: see _queue.lua
--- include: _clock.lua
--- include: _fence.lua
--- include: _ending.lua
--- include: _event.lua
--- include: _guard.lua
--- include: _limits.lua
--- include: _queue.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if redis.call('EXISTS', KEYS[1]) == 1 then return cjson.encode({verdict = 'exists'}) end

local channel = 'channel=' .. a.channel
local blocked = blocked_until(KEYS[4], KEYS[9], a.budget, now)
if blocked then
  refused(KEYS[7], now, '-', 'blocked', blocked, channel, 'purpose=' .. a.purpose)
  return cjson.encode({verdict = 'blocked', until_ms = blocked, now = now})
end

local function limited(limit, wait_ms, window_ms)
  refused(KEYS[7], now, '-', limit, now + wait_ms, channel, 'purpose=' .. a.purpose)
  return cjson.encode({verdict = 'limited', limit = limit, wait_ms = wait_ms, window_ms = window_ms})
end

local own, side_by_side, earliest, replaced, over = pointer(a.purpose, a.binding), 0, nil, nil, {}
for field, live in pairs(hash(KEYS[3])) do
  local id, opened_at, expires_at = string.match(live, '^([^|]*)|(%d+)|(%d+)$')
  expires_at = tonumber(expires_at)
  if not is_alive(opened_at, expires_at, now) then
    over[#over + 1] = field
  elseif field == own then
    replaced = id
  elseif string.sub(field, 1, #a.purpose + 1) == a.purpose .. '|' then
    side_by_side = side_by_side + 1
    if not earliest or expires_at < earliest then earliest = expires_at end
  end
end
if side_by_side >= a.max_bindings then return limited('live_challenges', earliest - now) end

local limit, wait, window = refusing(a.limits, now)
if limit then return limited(limit, wait, window) end
local sends = a.sealed ~= ''
local full = sends and queue_refuses(KEYS[5], KEYS[8], a, a.purpose, now)
if full then return cjson.encode({verdict = 'overloaded', why = full}) end

charge(a.limits, now, a.id .. ':1')
local expires_at = now + a.ttl_ms
redis.call('HSET', KEYS[1],
  'channel', a.channel, 'caller', a.caller, 'purpose', a.purpose, 'binding', a.binding, 'about', a.about, 'region', a.region,
  'locale', a.locale, 'digits', a.digits, 'status', 'pending', 'opened_at', now, 'expires_at', expires_at,
  'attempts', 0, 'max_attempts', a.max_attempts, 'sends', sends and 1 or 0, 'max_sends', a.max_sends, 'ttl_ms', a.ttl_ms,
  'grace_ms', a.grace_ms, 'min_life_ms', a.min_life_ms, 'retention_ms', a.retention_ms,
  'generation', 1, 'epoch', a.epoch or 0, 'delivery', sends and 'queued' or 'none', 'events', a.events and '1' or '0')
redis.call('PEXPIRE', KEYS[1], a.ttl_ms + a.retention_ms)
if sends then
  redis.call('HSET', KEYS[2], 'sealed', a.sealed)
  redis.call('PEXPIRE', KEYS[2], a.ttl_ms)
  enqueue(KEYS[5], KEYS[8], a, a.purpose, 1)
end
local job
if sends and a.consumer ~= '' then
  -- No group yet, after a loss of data: an error, and whoever reads the queue makes it.
  local read = redis.pcall('XREADGROUP', 'GROUP', a.group, a.consumer, 'COUNT', 1, 'STREAMS', KEYS[5], '>')
  local entry = read and not read.err and read[1][2][1]
  if entry then job = {message_id = entry[1], id = entry[2][2], generation = tonumber(entry[2][4]),
    behind = entry[2][8]} end
end
if #over > 0 then redis.call('HDEL', KEYS[3], unpack(over)) end
redis.call('HSET', KEYS[3], own, a.id .. '|' .. now .. '|' .. expires_at)
redis.call('PEXPIRE', KEYS[3], a.ttl_ms + a.retention_ms)
local requested = line(now, 'requested', a.id, channel, 'purpose=' .. a.purpose, 'until=' .. expires_at,
  'of=' .. a.max_attempts)
if replaced then
  begin(KEYS[7], now, a.ttl_ms + a.retention_ms, line(now, 'replaced', replaced), requested)
else
  begin(KEYS[7], now, a.ttl_ms + a.retention_ms, requested)
end
tell(KEYS[6], {events = a.events and '1', caller = a.caller, purpose = a.purpose, about = a.about}, a.id,
  'challenge.created', now, 'expires_at', expires_at)

local windows, next_ms = standing(a.limits, now)
return cjson.encode({verdict = 'opened', now = now, expires_at = expires_at, sends_left = a.max_sends - (sends and 1 or 0),
  windows = windows, next_ms = next_ms, replaced = replaced, job = job})
