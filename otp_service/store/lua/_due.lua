-- Members of a zset of what is due when, at most `count`, the longest due first. What is to wait longer than anything in
-- it waits was put there by a clock that ran ahead: it is due now.
local function due(key, now, longest_ms, count)
  local members = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, count)
  local too_late = '(' .. (now + longest_ms + SET_BACK_MS)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, too_late, '+inf', 'LIMIT', 0, count - #members)) do
    members[#members + 1] = member
  end
  return members
end
