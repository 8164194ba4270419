-- How a challenge ended: a word of core/challenge.py's Status and the time in ms, or nil while it is alive.
--
-- `live` is the subject's pointer for the challenge's purpose and binding, "<id>|<opened_at>|<expires_at>": a newer
-- request moves it, and in that moment the older challenge is over, whatever its own hash still says.
--
-- A challenge whose newest code was requested in the future is over too, see _clock.lua.
--
-- With its tries spent it is exhausted, also when whoever compared the last one died over it: from when that one can't turn
-- out right any more, whatever else has come since. Until then it is alive, and no further try is counted.
local COMPARED_MS = 10 * 1000  -- for how long a try may be compared: queue and hash take well under a second

local function otherwise_over(challenge, live, a, now)
  if challenge.status ~= 'pending' then return challenge.status, tonumber(challenge.ended_at) end
  if is_future(challenge.expires_at - challenge.ttl_ms, now) then return 'expired', now end
  if now >= tonumber(challenge.expires_at) then return 'expired', tonumber(challenge.expires_at) end
  if is_fenced(challenge.epoch, a) then return 'expired', now end
  local newest, opened_at = string.match(live or '', '^([^|]*)|(%d+)|')
  if newest ~= a.id then return 'replaced', tonumber(opened_at or now) end
  return nil
end

-- `a` is the script's argument: id, and what _fence.lua reads.
local function ending(challenge, live, a, now)
  local status, ended_at = otherwise_over(challenge, live, a, now)
  if challenge.status == 'pending' and tonumber(challenge.attempts) >= tonumber(challenge.max_attempts)
    and (status or now >= challenge.attempted_at + COMPARED_MS) then
    return 'exhausted', tonumber(challenge.attempted_at)
  end
  return status, ended_at
end

local function pointer(purpose, binding) return purpose .. '|' .. binding end
