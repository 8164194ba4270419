-- Stands before any script that is run while more than one route key is live: what lies under a former name of one of
-- its keys is moved to the name that the script was given, in the same step. So whichever route key a process takes for
-- the active one, it finds all there is, and two processes that disagree for some seconds lose nothing.
--
-- KEYS       first the script's own, then former names, all in one slot
-- ARGV[1]    JSON with `former`: for each former name which of the script's own keys it is one of
--
-- Something lies under both names only when a process that did not know the newer key wrote there; then that is newer.
local KEYS = (function(all)
  local TIMELINE_MOST = 200  -- as in _timeline.lua

  local function merge(from, to)
    local kind = string.match(to, '^otp:{%x+}:([%a-]+):')
    if kind == 'recovery' or kind == 'opt-in' then return redis.call('RENAME', from, to) end  -- replaced as a whole
    if kind == 'timeline' then  -- a list; what lies under the former name is older
      local lines = redis.call('LRANGE', from, -TIMELINE_MOST, -1)
      for i = #lines, 1, -1 do redis.call('LPUSH', to, lines[i]) end
      redis.call('LTRIM', to, -TIMELINE_MOST, -1)
      return redis.call('DEL', from)
    end
    local old, ttl = {}, redis.call('PTTL', to)
    if kind == 'opt-in-guesses' then  -- a zset of what was counted, by time
      local counted = redis.call('ZRANGE', from, 0, -1, 'WITHSCORES')
      for i = 1, #counted, 2 do redis.call('ZADD', to, counted[i + 1], counted[i]) end
      redis.call('PEXPIRE', to, math.max(ttl, redis.call('PTTL', from)))
      return redis.call('DEL', from)
    end
    local flat = redis.call('HGETALL', from)
    for i = 1, #flat, 2 do old[flat[i]] = flat[i + 1] end
    if kind == 'guard' then  -- add up what both have counted
      local failures = cjson.decode(redis.call('HGET', to, 'failures') or '[]')
      for _, at in ipairs(cjson.decode(old.failures or '[]')) do failures[#failures + 1] = at end
      table.sort(failures)
      old.failures = #failures > 0 and cjson.encode(failures) or nil
      old.streak = (old.streak or 0) + (redis.call('HGET', to, 'streak') or 0)
      local newer = redis.call('HMGET', to, 'blocked_until', 'blocked_at')
      if tonumber(newer[1] or 0) > tonumber(old.blocked_until or 0) then
        old.blocked_until, old.blocked_at = newer[1], newer[2] or nil
      end
    end
    for field, value in pairs(old) do redis.call('HSET', to, field, value) end
    local other = redis.call('PTTL', from)
    if ttl < 0 or other < 0 then redis.call('PERSIST', to) else redis.call('PEXPIRE', to, math.max(ttl, other)) end
    redis.call('DEL', from)
  end

  local of = cjson.decode(ARGV[1]).former
  local own = #all - #of
  for i, which in ipairs(of) do
    local from, to = all[own + i], all[which]
    if redis.call('EXISTS', from) == 1 then
      if redis.call('EXISTS', to) == 1 then merge(from, to) else redis.call('RENAME', from, to) end
    end
  end
  return {unpack(all, 1, own)}
end)(KEYS)
