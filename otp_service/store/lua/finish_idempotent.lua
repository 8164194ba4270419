-- Keep the answer of a run, or release its lease without one.
--
-- KEYS[1]    record      see begin_idempotent.lua
-- ARGV[1]    JSON: owner (the run that ends), and one of
--            answer    sealed: kept unless there is one
--            forget    true: the run counted and created nothing, so the key is free again
--            neither: the run broke off, and the next call takes it up at once
--
-- Returns JSON {verdict}
--   finished
--   not_owner     the lease is another run's; only an answer was kept
local a = cjson.decode(ARGV[1])
if a.answer and redis.call('EXISTS', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], 'answer') == 0 then
  redis.call('HSET', KEYS[1], 'answer', a.answer)
end
if redis.call('HGET', KEYS[1], 'owner') ~= a.owner then return cjson.encode({verdict = 'not_owner'}) end
if a.forget then
  redis.call('DEL', KEYS[1])
elseif not a.answer then
  redis.call('HSET', KEYS[1], 'busy_until', 0)
end
return cjson.encode({verdict = 'finished'})
