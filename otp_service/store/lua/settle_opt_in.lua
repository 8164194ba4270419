-- Write what the site said of a try, if the opt-in is still the one that was tried.
--
-- KEYS[1]    opt_in
-- ARGV[1]    JSON: offset, handle, attempt_id ("" when no code was typed), status (approved, exhausted, canceled; or "unsure": the site may have taken the code)
--
-- Returns JSON {verdict, …}
--   settled       ended_at, first (false when it was settled so before)
--   stale         another request took its place, or it is gone
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local o = hash(KEYS[1])
if not o.status or (a.handle ~= '' and o.handle ~= a.handle) then return cjson.encode({verdict = 'stale'}) end
if a.status == 'unsure' then
  redis.call('HSET', KEYS[1], 'unsure', '1')
  return cjson.encode({verdict = 'settled', ended_at = now, first = false})
end
if o.status ~= 'pending' then
  return cjson.encode({verdict = 'settled', ended_at = tonumber(o.ended_at), first = false})
end
redis.call('HSET', KEYS[1], 'status', a.status, 'ended_at', now, 'approved_by', a.attempt_id)
return cjson.encode({verdict = 'settled', ended_at = now, first = true})
