-- Remember what the gateway says is left, and notice once when it falls below the warning, for all processes together.
--
-- KEYS[1]    credit      hash: amount, unit, at, low (1 from the crossing until it is well above again), told, telling_until
-- ARGV[1]    JSON: offset, amount, unit, warn_below (absent: never), well_above, tell_ms (for which telling is left to
--            whoever got `low`; afterwards the next one tells), keep_ms
--
-- Returns JSON {verdict}
--   low           it has fallen below the warning and nobody has been told: tell, then credit_told.lua
--   recovered     it is well above again
--   same          neither
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now, verdict = now_ms(a.offset), 'same'
redis.call('HSET', KEYS[1], 'amount', a.amount, 'unit', a.unit, 'at', now)
redis.call('PEXPIRE', KEYS[1], a.keep_ms)
local amount, was = tonumber(a.amount), hash(KEYS[1])
if a.warn_below and amount < a.warn_below then
  if was.low ~= '1' then
    redis.call('HSET', KEYS[1], 'low', 1)
    redis.call('HDEL', KEYS[1], 'told', 'telling_until')
    was.told, was.telling_until = nil, nil
  end
  local telling_until = tonumber(was.telling_until or 0)
  if not was.told and not is_alive(telling_until - a.tell_ms, telling_until, now) then
    redis.call('HSET', KEYS[1], 'telling_until', now + a.tell_ms)
    verdict = 'low'
  end
elseif was.low == '1' and (not a.warn_below or amount >= a.well_above) then
  redis.call('HDEL', KEYS[1], 'low', 'told', 'telling_until')
  verdict = 'recovered'
end
return cjson.encode({verdict = verdict})
