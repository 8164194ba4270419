-- Tell the caller's webhooks of a change, in the moment it happens: one entry in the bucket's stream of events, if the
-- caller had an endpoint when the challenge was opened (its field `events`). `challenge` needs caller, purpose, about and
-- events. What follows `now` are pairs that the type needs. The stream is bounded: with nobody to read it, the oldest go.
local function tell(stream, challenge, id, type, now, ...)
  if challenge.events ~= '1' then return end
  redis.call('XADD', stream, 'MAXLEN', '~', 2000, '*', 'type', type, 'at', now, 'id', id, 'caller', challenge.caller,
    'purpose', challenge.purpose, 'about', challenge.about, ...)
end

-- As `tell`, of what happens to a subject without a challenge. `event` is what the flow hands over when the caller has an
-- endpoint: {id (what `about` is sealed for), caller, about}; null or nil when it has none.
local function tell_of_subject(stream, event, type, now, ...)
  if not event or event == cjson.null then return end
  redis.call('XADD', stream, 'MAXLEN', '~', 2000, '*', 'type', type, 'at', now, 'id', event.id, 'caller', event.caller,
    'about', event.about, ...)
end

-- Tell of a factor of _factors.lua, if `told`.
local function tell_of_factor(stream, told, factor, id, type, now)
  tell_of_subject(stream, told and {id = id, caller = factor.caller, about = factor.about or ''} or nil, type, now,
    'factor', factor.type, 'factor_id', id)
end

-- Tell of a device of _devices.lua, if `told`.
local function tell_of_device(stream, told, device, id, type, now)
  tell_of_subject(stream, told and {id = id, caller = device.caller, about = device.about or ''} or nil, type, now,
    'device_id', id)
end
