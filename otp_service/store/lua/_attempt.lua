-- An attempt: one run of a call that a person's code came with. A call that is repeated with its Idempotency-Key is the
-- same attempt: it is counted once, and once accepted it is accepted again. A string that holds JSON, for a day, as long
-- as an Idempotency-Key is remembered:
--   tried       what the code was counted against; against something else it counts anew
--   accepted    what the success was
local function attempt(key)
  local text = redis.call('GET', key)
  return text and cjson.decode(text) or {}
end

local function write_attempt(key, fields)
  redis.call('SET', key, cjson.encode(fields), 'PX', 86400000)
end
