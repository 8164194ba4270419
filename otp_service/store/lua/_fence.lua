-- The fence (services/history.py): Redis went back in time, so what was spent since may be unspent again. What was created
-- under an older epoch than the caller's is refused, and so are an authenticator's steps until then. `a` is the script's
-- argument: epoch and fenced_at (ms), absent while nothing of that kind ever happened.

local function is_fenced(epoch, a) return tonumber(epoch or 0) < (a.epoch or 0) end
