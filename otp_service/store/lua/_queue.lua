-- How callers share a delivery queue: the rule of core/fair_share.py, counted in the queue itself.
--
-- `shares` is a hash of how many jobs of the queue each caller has, and of when the script counted them (`:at`). It is a
-- snapshot and no counter: it counts the jobs that are added meanwhile, not those that leave, and after COUNTED_MS the
-- next call counts anew. So nothing has to be taken back when a job leaves, and no crash makes it wrong for longer.

local COUNTED_MS = 1000

-- Count each caller's jobs, if the last count is too old.
local function count_queue(queue, shares, now)
  local at = tonumber(redis.call('HGET', shares, ':at'))
  if at and now >= at and now < at + COUNTED_MS then return end
  local counts = {}
  for _, entry in ipairs(redis.call('XRANGE', queue, '-', '+')) do
    local caller = entry[2][5] == 'caller' and entry[2][6] or ''  -- an older build wrote none
    counts[caller] = (counts[caller] or 0) + 1
  end
  redis.call('DEL', shares)
  redis.call('HSET', shares, ':at', now)
  redis.call('PEXPIRE', shares, COUNTED_MS)
  for caller, count in pairs(counts) do redis.call('HSET', shares, caller, count) end
end

-- Why the queue takes no code for this purpose from the caller: `full`, `share` if only the caller's own share is in
-- use, or nil. A code of an opt-in is taken only while the queue is short, whoever asks.
local function queue_refuses(queue, shares, a, purpose, now)
  local caller, limit, total = a.caller, a.queue_limit, redis.call('XLEN', queue)
  if purpose == a.opt_in_purpose then return total >= a.opt_in_limit and 'full' or nil end
  local largest = math.max(1, math.floor(limit * a.caller_share / 100))
  if total < limit and total < largest then return nil end  -- nobody can have used up a share
  count_queue(queue, shares, now)
  local own = tonumber(redis.call('HGET', shares, caller))
  local callers = redis.call('HLEN', shares) - (own and 1 or 0)  -- this one included; `:at` is a field, too
  own = own or 0
  if callers == 1 then return total >= limit and 'full' or nil end
  if total < limit then return own >= largest and 'share' or nil end
  if own < math.max(1, math.min(largest, math.floor(limit / callers))) then return nil end
  return 'share'
end

-- Queue the newest code of a challenge. The code of an opt-in is marked `behind`: login codes go first.
local function enqueue(queue, shares, a, purpose, generation)
  local entry = {'id', a.id, 'generation', generation, 'caller', a.caller}
  if purpose == a.opt_in_purpose then entry[7], entry[8] = 'behind', 1 end
  redis.call('XADD', queue, '*', unpack(entry))
  if redis.call('EXISTS', shares) == 1 then redis.call('HINCRBY', shares, a.caller, 1) end
end
