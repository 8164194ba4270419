-- Erase what is kept of a subject. Counts of wrong codes stay as long as they count, and what is blocked until it is freed
-- stays blocked, or erasing would be a way to more guesses; traces stay for their minutes, since by them the code's row is deleted at the provider.
--
-- KEYS[1]    factors     see _factors.lua
-- KEYS[2]    recovery    hash of index to PHC string
-- KEYS[3]    devices     see _devices.lua
-- KEYS[4]    subject     hash of pointers to the live challenges
-- KEYS[5]    timeline    see _timeline.lua
-- KEYS[6..]  guards      so many as `guards` says, see _guard.lua; then, for each challenge, the challenge and its secret
-- ARGV[1]    JSON: offset, guards, guarded_ms (how long wrong codes count), in_a_row (so many block until freed), look (true:
--            only say whether anything is kept)
--
-- Returns JSON {verdict, …}
--   erased        factors, recovery_codes, devices, challenges: how many there were
--   kept, nothing (with `look`) whether there is anything to erase, counts of wrong codes included; nothing written
--- include: _clock.lua
--- include: _fence.lua
--- include: _factors.lua
--- include: _devices.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)

local function outlives(guard)  -- its day, and is not blocked until it is freed
  local until_freed = tonumber(redis.call('HGET', guard, 'streak') or 0) >= a.in_a_row
  return not until_freed and redis.call('PTTL', guard) > a.guarded_ms
end

if a.look then
  for i = 1, #KEYS do
    local guard = i > 5 and i <= 5 + a.guards
    if redis.call('EXISTS', KEYS[i]) == 1 and (not guard or outlives(KEYS[i])) then
      return cjson.encode({verdict = 'kept'})
    end
  end
  return cjson.encode({verdict = 'nothing'})
end

local function size(found)
  local count = 0
  for _ in pairs(found) do count = count + 1 end
  return count
end

local answer = {verdict = 'erased', factors = size(factors(KEYS[1], now)), recovery_codes = redis.call('HLEN', KEYS[2]),
  devices = size(devices(KEYS[3], now)), challenges = 0}
for i = 1, 5 do redis.call('DEL', KEYS[i]) end
for i = 6, 5 + a.guards do
  if outlives(KEYS[i]) then redis.call('PEXPIRE', KEYS[i], a.guarded_ms) end
end
for i = 6 + a.guards, #KEYS, 2 do
  answer.challenges = answer.challenges + redis.call('DEL', KEYS[i])
  redis.call('DEL', KEYS[i + 1])
end
return cjson.encode(answer)
