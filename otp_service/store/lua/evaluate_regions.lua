-- Count what was asked for and approved by caller and region, and pause the pairs of which too few codes come back.
--
-- A pause has no end of its own: it lasts as long as the counts of the window say so, which slide on.
--
-- KEYS[1]    paused      hash: pair -> since|requested|approved
-- KEYS[2..]  codes       hash of each pair: r<step> and a<step>, where a step is a sixtieth of the window
-- ARGV[1]    JSON: offset, pairs ({pair, requested, approved} in the order of the keys, the two since the last call),
--            window_ms, grace_ms (in which nobody is expected to have typed a code), min_requests (requests from which on
--            the share is looked at), below (the share)
--
-- Returns JSON {verdict, …}
--   weighed       paused, began, ended: lists of {pair, since, requested, approved}; paused is all there are
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local step_ms = a.window_ms / 60
local current, began, ended = math.floor(now / step_ms), {}, {}

local function count(key, pair)
  for name, many in pairs({r = pair[2], a = pair[3]}) do
    if many > 0 then redis.call('HINCRBY', key, name .. string.format('%d', current), many) end
  end
  local requested, approved, over = 0, 0, {}
  for field, many in pairs(hash(key)) do
    local closes = (tonumber(string.sub(field, 2)) + 1) * step_ms
    -- What lies ahead is of a clock that was set back since, or of a shorter window: it would count for ever.
    if closes <= now - a.window_ms or closes > now + 2 * step_ms then
      over[#over + 1] = field
    elseif string.sub(field, 1, 1) == 'a' then
      approved = approved + many
    elseif closes <= now - a.grace_ms then
      requested = requested + many
    end
  end
  if #over > 0 then redis.call('HDEL', key, unpack(over)) end
  redis.call('PEXPIRE', key, a.window_ms)
  return requested, approved
end

for i, pair in ipairs(a.pairs) do
  local requested, approved = count(KEYS[i + 1], pair)
  local few = requested >= a.min_requests and approved < a.below * requested
  local was = redis.call('HGET', KEYS[1], pair[1])
  local since = was and string.match(was, '^%d+') or string.format('%d', now)
  local told = {pair[1], since, requested, approved}
  if few then
    redis.call('HSET', KEYS[1], pair[1], table.concat({since, requested, approved}, '|'))
    if not was then began[#began + 1] = told end
  elseif was then
    redis.call('HDEL', KEYS[1], pair[1])
    ended[#ended + 1] = told
  end
end
redis.call('PEXPIRE', KEYS[1], a.window_ms)

local paused = {}
for pair, told in pairs(hash(KEYS[1])) do
  local since, requested, approved = string.match(told, '^(%d+)|(%d+)|(%d+)$')
  paused[#paused + 1] = {pair, since, tonumber(requested), tonumber(approved)}
end
return cjson.encode({verdict = 'weighed', paused = paused, began = began, ended = ended})
