-- Wraps every script: outside of its time window by Redis' clock a script does nothing. A caller that has given up has
-- answered already, so what ran after that would contradict the answer.
--
-- ARGV[2]    not before, Unix ms: the clock reads less only when it was set back
-- ARGV[3]    deadline, Unix ms: when the caller gives up, at the latest
--
-- Returns {Redis' clock in ms, 1, answer of the script}, or {Redis' clock in ms, 0} when nothing was done.
local time = redis.call('TIME')
local redis_now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis_now < tonumber(ARGV[2]) or redis_now > tonumber(ARGV[3]) then return {redis_now, 0} end
return {redis_now, 1, (function()
--- script
end)()}
