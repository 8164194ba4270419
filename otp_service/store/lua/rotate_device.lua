-- A genuine token was shown: if it is the newest of its device, let the next one take its place and write the proof.
-- One winner. One that is older was copied, and then nobody can tell whose the newest is: none is good any more.
--
-- KEYS[1]    devices     see _devices.lua
-- KEYS[2]    timeline    see _timeline.lua
-- KEYS[3]    events      stream, see _event.lua
-- KEYS[4]    proof       hash, born here with its own end; absent when the proof is not recorded
-- ARGV[1]    JSON: offset, id, generation (of the token), purpose, binding, run (what makes the call repeatable),
--            leeway_ms, proof (flat list of fields), proof_ttl_ms, life_ms, events (whether webhooks are told)
--
-- Returns JSON {verdict, …}
--   rotated       at, expires_at: the token of the next generation is the good one; also to the same run again
--   superseded    its successor is younger than the leeway: a call beside this one was first; nothing changed
--   reused        at: when an older token was shown; found: whether that was just now
--   mismatch      purpose or binding differ; nothing changed
--   not_found     forgotten, expired, or of a generation that Redis has lost
--- include: _clock.lua
--- include: _fence.lua
--- include: _devices.lua
--- include: _event.lua
--- include: _proof.lua
--- include: _timeline.lua
--- include: _forget.lua

local a = cjson.decode(ARGV[1])
local now = now_ms(a.offset)
local d = devices(KEYS[1], now)[a.id]
if not d then return cjson.encode({verdict = 'not_found'}) end
if d.reused_at then return cjson.encode({verdict = 'reused', at = d.reused_at, found = false}) end

if a.generation > d.generation then
  -- We made it, so a later state than this was lost with a primary: which tokens were used then, nobody knows.
  forget(KEYS[1], KEYS[2], KEYS[3], a, d, a.id, now)
  return cjson.encode({verdict = 'not_found'})
end
if a.generation < d.generation then
  if a.generation == d.generation - 1 then
    if d.run == a.run then
      return cjson.encode({verdict = 'rotated', at = d.used_at, expires_at = d.expires_at})
    end
    if is_alive(d.used_at, d.used_at + a.leeway_ms, now) then return cjson.encode({verdict = 'superseded'}) end
  end
  d.reused_at = now
  redis.call('HSET', KEYS[1], a.id, cjson.encode(d))
  begin(KEYS[2], now, a.life_ms, line(now, 'reused', a.id, 'factor=device', 'purpose=' .. d.purpose))
  tell_of_device(KEYS[3], a.events, d, a.id, 'device.reused', now)
  return cjson.encode({verdict = 'reused', at = now, found = true})
end
if d.purpose ~= a.purpose or d.binding ~= a.binding then return cjson.encode({verdict = 'mismatch'}) end

d.generation, d.used_at, d.run = d.generation + 1, now, a.run
redis.call('HSET', KEYS[1], a.id, cjson.encode(d))
write_proof(KEYS[4], a, now)
return cjson.encode({verdict = 'rotated', at = now, expires_at = d.expires_at})
