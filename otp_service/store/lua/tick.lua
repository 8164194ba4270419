-- Write a process's tick and find out whether Redis still has the one before: if not, it went back in time. Then, and
-- when its clock was set back, the epoch rises: see _fence.lua. It never falls, since each process brings the highest
-- that it knows.
--
-- KEYS[1]    history     hash: id (of the installation), former (an id that it had before), at (of the newest tick, ms),
--                        epoch, fenced_at (when it rose, ms), emptied_at (ms, until the operator accepts it), steps_back
-- KEYS[2]    tick        text: the number of this process's newest tick
-- ARGV[1]    JSON: offset, id, known (whether that id was read here before, or chosen just now), tick, confirmed (the
--            number that Redis acknowledged last; -1: none), last_now (ms, what the clock read then; 0: nothing known),
--            seen_at (ms, the newest tick that an earlier process remembered; 0: nothing known), epoch (highest known),
--            keep_ms (of the tick)
--
-- Returns JSON {verdict, …}
--   kept          id, now, epoch, fenced_at, emptied_at (absent: not emptied), newest_at (tick before this one, ms), why
--                 (absent: all is well; else "emptied", "lost" or "clock"), raised (whether this tick raised the epoch),
--                 steps_back (whether any waits for the operator)
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now, h = now_ms(a.offset), hash(KEYS[1])
local newest_at, epoch, why, raised = tonumber(h.at or 0), tonumber(h.epoch or 0), nil, false

if a.known and h.id ~= a.id and h.former ~= a.id then
  why = 'emptied'
  h.emptied_at = h.emptied_at or now
  redis.call('HSET', KEYS[1], 'emptied_at', h.emptied_at, 'former', a.id)
elseif a.known and (tonumber(redis.call('GET', KEYS[2]) or -1) < a.confirmed or newest_at < a.seen_at) then
  why = 'lost'
elseif is_future(a.last_now, now) then
  why = 'clock'
end

if why and epoch <= a.epoch then  -- a higher one was raised since, by another process for the same reason
  epoch, h.fenced_at, raised = a.epoch + 1, now, true
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'fenced_at', now)
end
h.id = h.id or a.id
redis.call('HSET', KEYS[1], 'id', h.id, 'at', now)
redis.call('SET', KEYS[2], a.tick, 'PX', a.keep_ms)
return cjson.encode({verdict = 'kept', id = h.id, now = now, epoch = math.max(epoch, a.epoch), raised = raised, why = why,
  fenced_at = tonumber(h.fenced_at or 0), emptied_at = tonumber(h.emptied_at), newest_at = newest_at,
  steps_back = h.steps_back ~= nil})
