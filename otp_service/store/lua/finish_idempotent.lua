-- Keep the answer of a run, or say that it ended without one.
--
-- KEYS[1]    record
-- ARGV[1]    the sealed answer
--            "let_go"  the run counted and created nothing: forget the key
--            "pause"   the run broke off: the next call may take it up at once
--
-- Returns "finished"
if ARGV[1] == 'let_go' then
  redis.call('DEL', KEYS[1])
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return 'finished'
elseif ARGV[1] == 'pause' then
  redis.call('HSET', KEYS[1], 'busy_until', 0)
else
  redis.call('HSET', KEYS[1], 'answer', ARGV[1])
end
return 'finished'
