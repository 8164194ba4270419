-- Sliding limits. A limit is a sorted set of the times of what it counted, and a spec
--   {i = index in KEYS, windows = {{name, count, ms}, …}, cooldown = {ms, …} or nil, cooldown_window = ms,
--    keep = ms that its entries are kept, shown = whether the caller learns how it stands}
-- The caller always learns how the first one stands. Exact in any window, at no boundary twice, and one entry can be taken back by id.
-- Entries of the future (see _clock.lua) do not count, and go with the next charge.

local function latest(now) return now + SET_BACK_MS end

-- When the nth newest entry was counted, at most now; nil when there are fewer.
local function nth_newest(key, nth, now)
  local at = redis.call('ZREVRANGEBYSCORE', key, latest(now), '-inf', 'WITHSCORES', 'LIMIT', nth - 1, 1)[2]
  return at and math.min(tonumber(at), now)
end

-- A limit over all callers is called 'shared', and its wait is rounded up to this: when others sent is not told exactly.
local SHARED_STEP_MS = 10 * 60 * 1000

local function told_wait(name, ms)
  if name ~= 'shared' then return ms end
  return math.ceil(ms / SHARED_STEP_MS) * SHARED_STEP_MS
end

-- Call visit(name, ms, window_ms) for everything in the spec that stands in the way of one more: for how long, and in
-- which window; a cooldown has none.
local function obstacles(spec, now, visit)
  local key = KEYS[spec.i]
  for _, window in ipairs(spec.windows) do
    local name, count, ms = window[1], window[2], window[3]
    local nth = nth_newest(key, count, now)
    if nth and nth + ms > now then visit(name, told_wait(name, nth + ms - now), ms) end
  end
  local last = spec.cooldown and nth_newest(key, 1, now)
  if last then
    local recent = redis.call('ZCOUNT', key, '(' .. (now - spec.cooldown_window), latest(now))
    local step = spec.cooldown[math.max(1, math.min(recent, #spec.cooldown))]
    if last + step > now then visit('cooldown', last + step - now) end
  end
end

-- Which limit stands longest in the way, for how many ms, and in which window; nil when none does.
local function refusing(specs, now)
  local worst, wait, window = nil, 0, nil
  for _, spec in ipairs(specs) do
    obstacles(spec, now, function(name, ms, window_ms)
      if ms > wait then worst, wait, window = name, ms, window_ms end
    end)
  end
  return worst, wait, window
end

-- Adds before it tidies up: a full Redis refuses what adds, but only as long as the script has written nothing.
local function charge(specs, now, member)
  for _, spec in ipairs(specs) do
    redis.call('ZADD', KEYS[spec.i], now, member)
    redis.call('ZREMRANGEBYSCORE', KEYS[spec.i], '-inf', now - spec.keep)
    redis.call('ZREMRANGEBYSCORE', KEYS[spec.i], '(' .. latest(now), '+inf')
    redis.call('PEXPIRE', KEYS[spec.i], spec.keep)
  end
end

-- The windows of one spec as {name, count, ms, remaining, reset_ms}, and the ms until one more would pass it.
local function standing_of(spec, now)
  local windows, next_ms = {}, 0
  for _, window in ipairs(spec.windows) do
    local name, count, ms = window[1], window[2], window[3]
    local since = '(' .. (now - ms)
    local used = redis.call('ZCOUNT', KEYS[spec.i], since, latest(now))
    local oldest = redis.call('ZRANGEBYSCORE', KEYS[spec.i], since, latest(now), 'WITHSCORES', 'LIMIT', 0, 1)[2]
    windows[#windows + 1] = {name, count, ms, math.max(0, count - used),
      oldest and math.min(tonumber(oldest), now) + ms - now or 0}
  end
  obstacles(spec, now, function(_, ms) next_ms = math.max(next_ms, ms) end)
  return windows, next_ms
end

-- The same of all specs that are shown: of two windows with one name and length, the one with less left.
local function standing(specs, now)
  local windows, next_ms, place = {}, 0, {}
  for i, spec in ipairs(specs) do
    if i == 1 or spec.shown then
      local found, ms = standing_of(spec, now)
      next_ms = math.max(next_ms, ms)
      for _, window in ipairs(found) do
        local id = window[1] .. ':' .. window[3]
        local at = place[id] or #windows + 1
        place[id] = at
        if not windows[at] or window[4] < windows[at][4] then windows[at] = window end
      end
    end
  end
  return windows, next_ms
end
