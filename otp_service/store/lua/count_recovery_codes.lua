-- How many recovery codes a subject has left.
--
-- KEYS[1]    recovery    hash of index to PHC string
-- ARGV[1]    JSON: nothing
--
-- Returns JSON {verdict, …}
--   counted       remaining
return cjson.encode({verdict = 'counted', remaining = redis.call('HLEN', KEYS[1])})
