-- Write a process's tick and find out whether Redis still has the one before: if not, it went back in time. Then, and
-- when its clock was set back, the epoch rises: see _fence.lua. It never falls, since each process brings the highest
-- that it knows.
--
-- KEYS[1]    history     hash: id (of the installation), created_at (when that id was written, ms), former (an id that it
--                        had before), at (of the newest tick, ms; never lowered but for a clock that was set back), epoch,
--                        fenced_at (when it rose, ms), emptied_at (ms, until the operator accepts it), steps_back
-- KEYS[2]    tick        text: the number of this process's newest tick
-- ARGV[1]    JSON: offset, id, former_id (that it had before; "": none), known (whether that id was read here before, or
--            chosen just now), tick, confirmed (the number that Redis acknowledged last; -1: none), last_now (ms, what the
--            clock read then; 0: nothing known), seen_at (ms, `at` as this process or one before it saw it last; 0: nothing
--            known), epoch (highest known), keep_ms (of the tick)
--
-- Returns JSON {verdict, …}
--   kept          id, former, now, at, epoch, fenced_at, emptied_at (absent: not emptied), newest_at (tick before this
--                 one, ms), why (absent: all is well; else "emptied", "lost" or "clock"), raised (whether this tick raised
--                 the epoch), steps_back (whether any waits for the operator)
--   other         another installation, which is older than what is remembered: nothing was written
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now, h = now_ms(a.offset), hash(KEYS[1])
local newest_at, epoch, why, raised = tonumber(h.at or 0), tonumber(h.epoch or 0), nil, false
local number = tonumber(redis.call('GET', KEYS[2]))

local is_ours = not a.known or h.id == a.id or h.former == a.id or h.id == a.former_id
if h.id and not is_ours and tonumber(h.created_at or 0) < a.seen_at then
  return cjson.encode({verdict = 'other'})
end

-- Whether what this process remembers is gone. Before its first tick, and when its last one has expired since, the
-- newest tick of any process tells.
local function is_lost()
  if a.confirmed < 0 or (not number and now - a.last_now >= a.keep_ms) then return newest_at < a.seen_at end
  return (number or -1) < a.confirmed
end

-- A time that was written as the present and lies in the future: the clock was ahead then, or was set back since.
local is_ahead = is_future(newest_at, now) or is_future(h.fenced_at or 0, now)

if not is_ours then
  why = 'emptied'
  h.emptied_at, h.former = h.emptied_at or now, a.id
  redis.call('HSET', KEYS[1], 'emptied_at', h.emptied_at, 'former', a.id)
elseif a.known and is_lost() then
  why = 'lost'
elseif is_ahead or is_future(a.last_now, now) then
  why = 'clock'
end

if why and (epoch <= a.epoch or is_ahead) then  -- else another process raised it since, for the same reason
  epoch, h.fenced_at, raised = math.max(epoch, a.epoch) + 1, now, true
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'fenced_at', now)
end
if not h.id then
  h.id = a.id
  redis.call('HSET', KEYS[1], 'id', h.id, 'created_at', now)
end
local at = is_ahead and now or math.max(now, newest_at)
redis.call('HSET', KEYS[1], 'at', at)
redis.call('SET', KEYS[2], a.tick, 'PX', a.keep_ms)
return cjson.encode({verdict = 'kept', id = h.id, former = h.former, now = now, at = at, epoch = math.max(epoch, a.epoch),
  raised = raised, why = why, fenced_at = tonumber(h.fenced_at or 0), emptied_at = tonumber(h.emptied_at),
  newest_at = newest_at, steps_back = h.steps_back ~= nil})
