-- The remembered devices of one subject: a hash of device id to JSON
--   {caller, about (sealed: the caller's id of the person), purpose, binding, name (sealed),
--    generation (of the one good token), created_at, expires_at,
--    used_at (when that token took its predecessor's place; absent before), run (that did it),
--    reused_at (when an older token was shown: since then none is good)}
-- The hash lives as long as the device that lives longest.

local function devices(key, now)
  local found = {}
  for id, text in pairs(hash(key)) do
    local device = cjson.decode(text)
    if is_alive(device.created_at, device.expires_at, now) then found[id] = device end
  end
  return found
end
