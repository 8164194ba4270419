-- Traces: what finds a message again at the provider, and a zset "<challenge id>:<generation>" by when to look.

-- For how long the list of traces outlives its newest entry; longer than any trace lives.
local TRACES_MS = 26 * 3600 * 1000

-- For how long a trace outlives its end, so that one last look can say that it found nothing.
local LAST_LOOK_MS = 60 * 1000

local function trace_due(traces, at, member)
  redis.call('ZADD', traces, at, member)
  redis.call('PEXPIRE', traces, TRACES_MS)
end

local function forget_trace(trace, traces, member)
  redis.call('DEL', trace)
  redis.call('ZREM', traces, member)
end
