-- Tell the caller's webhooks of a change, in the moment it happens: one entry in the bucket's stream of events, if the
-- caller had an endpoint when the challenge was opened (its field `events`). `challenge` needs caller, purpose, about and
-- events. What follows `now` are pairs that the type needs. The stream is bounded: with nobody to read it, the oldest go.
local function tell(stream, challenge, id, type, now, ...)
  if challenge.events ~= '1' then return end
  redis.call('XADD', stream, 'MAXLEN', '~', 2000, '*', 'type', type, 'at', now, 'id', id, 'caller', challenge.caller,
    'purpose', challenge.purpose, 'about', challenge.about, ...)
end
