-- The factors of one subject: a hash of factor id to JSON
--   {type, name, caller, about (sealed: whose it is), seed (sealed), algorithm, digits, status (pending, confirmed),
--    created_at, confirmed_at, expires_at (of a pending one), attempts (at confirming it), last_step,
--    proven (true when another factor has proven whose it is)}
-- The hash lives for ever once a factor is confirmed, and as long as its newest pending one before.

local function factors(key, now)
  local found = {}
  for id, text in pairs(hash(key)) do
    local factor = cjson.decode(text)
    if factor.status == 'confirmed' or factor.expires_at > now then
      found[id] = factor
    else
      redis.call('HDEL', key, id)
    end
  end
  return found
end

local function keep(key, now)
  local newest = nil
  for _, factor in pairs(factors(key, now)) do
    if factor.status == 'confirmed' then return redis.call('PERSIST', key) end
    newest = math.max(newest or 0, factor.expires_at)
  end
  if newest then redis.call('PEXPIRE', key, newest - now) end
end
