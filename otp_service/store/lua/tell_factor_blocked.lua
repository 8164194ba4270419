-- Tell that wrong codes have blocked a subject's factor that knows no challenges: once it is known that the code was wrong.
--
-- KEYS[1]    guard       see _guard.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- KEYS[4]    all         guard of all factors
-- ARGV[1]    JSON: offset, factor, budget, event (see _event.lua)
--
-- Returns JSON {verdict}
--   told          or nobody wants to know
--   free          the subject is not blocked (any more)
--- include: _clock.lua
--- include: _event.lua
--- include: _guard.lua
--- include: _timeline.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local blocked = blocked_until(KEYS[1], KEYS[4], a.budget, now)
if not blocked then return cjson.encode({verdict = 'free'}) end
go_on(KEYS[2], now, 'blocked', '-', 'factor=' .. a.factor, 'until=' .. blocked)
tell_of_subject(KEYS[3], a.event, 'factor.blocked', now, 'factor', a.factor, 'blocked_until', blocked)
return cjson.encode({verdict = 'told'})
