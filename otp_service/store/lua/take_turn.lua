-- Who does what one process is to do every so often: whoever asks first after the last turn is over.
--
-- KEYS[1]    turn        text: until when the last turn lasts, ms
-- ARGV[1]    JSON: offset, every_ms
--
-- Returns JSON {verdict}
--   yours         do it; nobody else's until every_ms are over
--   not_yours
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local ends_at = tonumber(redis.call('GET', KEYS[1]) or 0)
if is_alive(ends_at - a.every_ms, ends_at, now) then return cjson.encode({verdict = 'not_yours'}) end
redis.call('SET', KEYS[1], now + a.every_ms, 'PX', a.every_ms)
return cjson.encode({verdict = 'yours'})
