-- Write what a proof proves, with its own end; `key` is nil for a proof that is signed and not recorded.
local function write_proof(key, a, now)
  if not key then return end
  redis.call('HSET', key, unpack(a.proof))
  redis.call('HSET', key, 'verified_at', now, 'expires_at', now + a.proof_ttl_ms)
  redis.call('PEXPIRE', key, a.proof_ttl_ms)
end
