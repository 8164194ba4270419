-- Wrong codes of one number at the site, counted as WSMS 7.2.6 and later count them: each renews the period.
--
-- KEYS[1]    site_codes  hash: count, at
-- ARGV[1]    JSON: offset, action (look, count or forget), most, period_ms
--
-- Returns JSON {verdict, wait_ms}: told; for how long the site refuses every code of the number, 0 if it does not
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
if a.action == 'forget' then
  redis.call('DEL', KEYS[1])
  return cjson.encode({verdict = 'told', wait_ms = 0})
end
local o = hash(KEYS[1])
local count, at = tonumber(o.count or 0), tonumber(o.at or 0)
if not is_alive(at, at + a.period_ms, now) then count = 0 end
if a.action == 'count' then
  count, at = count + 1, now
  redis.call('HSET', KEYS[1], 'count', count, 'at', at)
  redis.call('PEXPIRE', KEYS[1], a.period_ms)
end
local wait_ms = count >= a.most and at + a.period_ms - now or 0
return cjson.encode({verdict = 'told', wait_ms = wait_ms})
