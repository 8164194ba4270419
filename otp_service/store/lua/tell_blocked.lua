-- Tell the caller's webhooks that wrong codes have blocked a subject: only once it is known that the code was wrong.
--
-- KEYS[1]    challenge
-- KEYS[2]    guard       see _guard.lua
-- KEYS[3]    events      stream, see _event.lua
-- KEYS[4]    timeline    see _timeline.lua
-- KEYS[5]    all         guard of all factors
-- ARGV[1]    JSON: offset, id, budget
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
local blocked = blocked_until(KEYS[2], KEYS[5], a.budget, now)
if not blocked then return cjson.encode({verdict = 'free'}) end
local c = hash(KEYS[1])
go_on(KEYS[4], now, 'blocked', a.id, 'until=' .. blocked)
tell(KEYS[3], c, a.id, 'challenge.blocked', now, 'blocked_until', blocked, 'attempts', c.attempts or 0)
return cjson.encode({verdict = 'told'})
