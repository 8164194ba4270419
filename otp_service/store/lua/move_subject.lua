-- Nothing of its own: what lies under a former name of the key has been moved before it began, see _moving.lua.
--
-- KEYS[1]    a key of a subject
-- ARGV[1]    JSON: nothing
--
-- Returns JSON {verdict}
--   moved         it lies under the name that was given, or nowhere
return cjson.encode({verdict = 'moved'})
