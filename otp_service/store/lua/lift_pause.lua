-- Lift the pause of a pair of caller and region: it is judged anew, by what is asked for from now on.
--
-- KEYS[1]    paused      see evaluate_regions.lua
-- KEYS[2]    codes       of the pair
-- ARGV[1]    JSON: offset, pair
--
-- Returns JSON {verdict}
--   lifted
--   not_paused    and nothing is forgotten
local a = cjson.decode(ARGV[1])
if redis.call('HDEL', KEYS[1], a.pair) == 0 then return cjson.encode({verdict = 'not_paused'}) end
redis.call('DEL', KEYS[2])
return cjson.encode({verdict = 'lifted'})
