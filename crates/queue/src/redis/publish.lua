-- Adds calls. KEYS: the streams of the priorities 0, 1 and 2, and the map from a call to its entry.
-- ARGV: priority and call, for each. An older entry of the same call is replaced.
for i = 1, #ARGV, 2 do
    local priority, call = ARGV[i], ARGV[i + 1]
    local old = redis.call('HGET', KEYS[4], call)
    if old then
        local stream, entry = KEYS[tonumber(old:sub(1, 1)) + 1], old:sub(3)
        redis.call('XACK', stream, 'picasso', entry)
        redis.call('XDEL', stream, entry)
    end
    local entry = redis.call('XADD', KEYS[tonumber(priority) + 1], '*', 'call', call)
    redis.call('HSET', KEYS[4], call, priority .. ':' .. entry)
end
