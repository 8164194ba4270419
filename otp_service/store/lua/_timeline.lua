-- A subject's timeline, for the help desk: a list of "<ms> <word> <id> <name>=<value> …", the oldest first; `id` is of a
-- challenge or a factor, or "-". Ids, words and numbers of ours only: never a code, a recipient or a text.
--
-- What begins something makes the list and gives it its end; all else is added to a list that is there, by one command.
-- So nobody fills Redis with timelines of people who were refused, and none is left without an end.

local TIMELINE_MOST = 200

local function line(now, word, id, ...) return table.concat({now, word, id, ...}, ' ') end

local function go_on(timeline, ...) redis.call('RPUSHX', timeline, line(...)) end

-- Begin something with these lines: what is older than life_ms goes, and of the rest the newest stay.
local function begin(timeline, now, life_ms, ...)
  local length = redis.call('RPUSH', timeline, ...)
  redis.call('PEXPIRE', timeline, life_ms)
  local oldest = redis.call('LINDEX', timeline, 0)
  while length > TIMELINE_MOST or tonumber(string.match(oldest, '^%d+')) <= now - life_ms do
    redis.call('LPOP', timeline)
    length, oldest = length - 1, redis.call('LINDEX', timeline, 0)
  end
end

-- Say that something was refused, once for the same refusals on end: hammering pushes nothing else out.
local function refused(timeline, now, id, why, until_ms, ...)
  local newest = redis.call('LINDEX', timeline, -1)
  if not newest or string.match(newest, ' refused .*why=(%S+)') == why then return end
  go_on(timeline, now, 'refused', id, 'why=' .. why, 'until=' .. until_ms, ...)
end
