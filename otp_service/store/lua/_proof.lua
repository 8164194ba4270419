-- Write what a proof proves, with its own end; `key` is nil for a proof that is signed and not recorded.
local function write_proof(key, a, now)
  if not key then return end
  redis.call('HSET', key, unpack(a.proof))
  redis.call('HSET', key, 'verified_at', now, 'expires_at', now + a.proof_ttl_ms, 'epoch', a.epoch or 0)
  redis.call('PEXPIRE', key, a.proof_ttl_ms)
end

-- Whether a proof may be redeemed: it is there, within its life, and not from before the fence.
local function is_active(key, a, now)
  local fields = redis.call('HMGET', key, 'verified_at', 'expires_at', 'epoch')
  return fields[2] and not is_fenced(fields[3], a) and is_alive(fields[1], fields[2], now) or false
end
