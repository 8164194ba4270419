-- Claim an idempotency key for one run of a call.
--
-- KEYS[1]    record      hash: fingerprint, handle, owner (of the lease), busy_until (its end), answer
-- ARGV[1]    JSON: offset, fingerprints (of the body, under each key that may have made the record's; the first is
--            kept), handle (what makes the run repeatable, such as the id it will create), owner (this run),
--            lease_ms, memory_ms
--
-- Returns JSON {verdict, …}
--   run           handle: ours, or that of a run that died, which must be taken up and not begun anew
--   running       wait_ms
--   done          answer
--   reused        the key came with another body before
--- include: _clock.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local r = hash(KEYS[1])
local same = not r.fingerprint
for _, fingerprint in ipairs(a.fingerprints) do same = same or r.fingerprint == fingerprint end
if not same then return cjson.encode({verdict = 'reused'}) end
if r.answer then return cjson.encode({verdict = 'done', answer = r.answer}) end
local busy_until = tonumber(r.busy_until or 0)
if busy_until > now + a.lease_ms then  -- claimed while the clock was ahead: the lease lasts its length from now
  busy_until = now + a.lease_ms
  redis.call('HSET', KEYS[1], 'busy_until', busy_until)
end
if busy_until > now then return cjson.encode({verdict = 'running', wait_ms = busy_until - now}) end
local handle = r.handle or a.handle
redis.call('HSET', KEYS[1], 'fingerprint', a.fingerprints[1], 'handle', handle, 'owner', a.owner,
  'busy_until', now + a.lease_ms)
redis.call('PEXPIRE', KEYS[1], a.memory_ms)
return cjson.encode({verdict = 'run', handle = handle})
