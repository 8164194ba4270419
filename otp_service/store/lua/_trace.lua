-- Traces: what finds a message again at the provider, and a zset of their names ("<challenge id>:<generation>", or the
-- handle of an opt-in) by when to look.

-- For how long the list of traces outlives its newest entry; longer than any trace lives.
local TRACES_MS = 26 * 3600 * 1000

-- For how long a trace outlives its end, so that one last look can say that it found nothing.
local LAST_LOOK_MS = 60 * 1000

local function trace_due(traces, at, member)
  redis.call('ZADD', traces, at, member)
  redis.call('PEXPIRE', traces, TRACES_MS)
end

-- Number and digest have done their duty; only which rows are to be deleted stays.
local function remember_rows(trace, rows, now, keep_ms)
  local began_at = redis.call('HGET', trace, 'began_at') or now
  redis.call('DEL', trace)
  redis.call('HSET', trace, 'rows', rows, 'began_at', began_at, 'ends_at', now + keep_ms)
  redis.call('PEXPIRE', trace, keep_ms + LAST_LOOK_MS)
end

-- For how many ms a trace is still looked for; below 0 when its time is over.
local function left_of(trace, now)
  return is_future(trace.began_at, now) and -1 or trace.ends_at - now
end

local function forget_trace(trace, traces, member)
  redis.call('DEL', trace)
  redis.call('ZREM', traces, member)
end
