-- Write how a send went, and take the job off the queue.
--
-- KEYS[1]    challenge
-- KEYS[2]    secret      loses its digest when the code provably never left: nobody can know it
-- KEYS[3]    queue
-- ARGV[1]    JSON: generation, delivery (accepted, failed or unknown), reason, group, message_id
--
-- Returns JSON {verdict}
--   settled       written
--   stale         a newer generation is on its way, or the send was given up before: nothing written
local a = cjson.decode(ARGV[1])
redis.call('XACK', KEYS[3], a.group, a.message_id)
redis.call('XDEL', KEYS[3], a.message_id)
local c = redis.call('HMGET', KEYS[1], 'generation', 'delivery')
if tonumber(c[1] or 0) ~= a.generation or c[2] ~= 'sending' then return cjson.encode({verdict = 'stale'}) end
redis.call('HSET', KEYS[1], 'delivery', a.delivery, 'delivery_reason', a.reason)
if a.delivery == 'failed' then redis.call('HDEL', KEYS[2], 'digest', 'kid') end
return cjson.encode({verdict = 'settled'})
