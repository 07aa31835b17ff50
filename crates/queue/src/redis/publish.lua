-- Adds calls. KEYS: the streams of the priorities 0, 1 and 2, and the map from a call to its entry.
-- ARGV: priority, call and project, for each. An older entry of the same call is replaced.
for i = 1, #ARGV, 3 do
    local priority, call, project = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local old = redis.call('HGET', KEYS[4], call)
    if old then
        local stream, entry = KEYS[tonumber(old:sub(1, 1)) + 1], old:sub(3)
        redis.call('XACK', stream, 'picasso', entry)
        redis.call('XDEL', stream, entry)
    end
    local entry =
        redis.call('XADD', KEYS[tonumber(priority) + 1], '*', 'call', call, 'project', project)
    redis.call('HSET', KEYS[4], call, priority .. ':' .. entry)
end
