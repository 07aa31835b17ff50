-- Removes an entry. KEYS: as for publishing. ARGV: receipt, call. A receipt of an older publication
-- finds another one in the map and changes nothing.
if redis.call('HGET', KEYS[4], ARGV[2]) == ARGV[1] then
    local stream, entry = KEYS[tonumber(ARGV[1]:sub(1, 1)) + 1], ARGV[1]:sub(3)
    redis.call('XACK', stream, 'picasso', entry)
    redis.call('XDEL', stream, entry)
    redis.call('HDEL', KEYS[4], ARGV[2])
end
