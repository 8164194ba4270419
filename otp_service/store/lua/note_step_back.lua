-- Remember a step back for the operator, until `otp-service store after-restore --done`.
--
-- KEYS[1]    history     see tick.lua
-- ARGV[1]    JSON: step (what is known of it), most (the newest are kept)
--
-- Returns JSON {verdict}
--   noted
local a = cjson.decode(ARGV[1])
local steps = cjson.decode(redis.call('HGET', KEYS[1], 'steps_back') or '[]')
steps[#steps + 1] = a.step
while #steps > a.most do table.remove(steps, 1) end
redis.call('HSET', KEYS[1], 'steps_back', cjson.encode(steps))
return cjson.encode({verdict = 'noted'})
