-- A subject's timeline, for the help desk: a list of "<ms> <word> <id> <name>=<value> …", the oldest first; `id` is of a
-- challenge or a factor, or "-". Ids, words and numbers of ours only: never a code, a recipient or a text.
--
-- What begins something makes the list and gives it its end; all else is added to a list that is there.
-- So nobody fills Redis with timelines of people who were refused, and none is left without an end.
-- Every writer trims: no timeline is ever longer than TIMELINE_MOST, whatever is written and however often.

local TIMELINE_MOST = 200   -- as in _moving.lua
local REFUSALS_ON_END = 10  -- refusals without anything else between; refused calls are free, so more are not noted

local function line(now, word, id, ...) return table.concat({now, word, id, ...}, ' ') end

local function add(command, timeline, ...)
  local length = redis.call(command, timeline, ...)
  if length > TIMELINE_MOST then redis.call('LTRIM', timeline, -TIMELINE_MOST, -1) end
end

local function go_on(timeline, ...) add('RPUSHX', timeline, line(...)) end

-- Begin something with these lines: what is older than life_ms goes, and of the rest the newest stay.
local function begin(timeline, now, life_ms, ...)
  add('RPUSH', timeline, ...)
  redis.call('PEXPIRE', timeline, life_ms)
  local oldest = redis.call('LINDEX', timeline, 0)
  while tonumber(string.match(oldest, '^%d+')) <= now - life_ms do
    redis.call('LPOP', timeline)
    oldest = redis.call('LINDEX', timeline, 0)
  end
end

-- A refusal without its times: by that it is recognised when it comes again.
local function refusal(noted)
  return string.match(noted, '^%d+ refused ') and string.gsub(string.gsub(noted, '^%d+ ', ''), ' until=%-?%d+', '')
end

-- Note a refusal, each kind once until something else happens: hammering pushes nothing else out.
local function refused(timeline, now, id, why, until_ms, ...)
  local noted = line(now, 'refused', id, 'why=' .. why, 'until=' .. until_ms, ...)
  local newest = redis.call('LRANGE', timeline, -REFUSALS_ON_END, -1)
  local on_end = 0
  for i = #newest, 1, -1 do
    local before = refusal(newest[i])
    if not before then break end
    if before == refusal(noted) then return end
    on_end = on_end + 1
  end
  if on_end < REFUSALS_ON_END then add('RPUSHX', timeline, noted) end
end
