-- Removes entries. KEYS: as for publishing. ARGV: receipt and call, for each. A receipt of an older
-- publication finds another one in the map and changes nothing.
for i = 1, #ARGV, 2 do
    local receipt, call = ARGV[i], ARGV[i + 1]
    if redis.call('HGET', KEYS[4], call) == receipt then
        local stream, entry = KEYS[tonumber(receipt:sub(1, 1)) + 1], receipt:sub(3)
        redis.call('XACK', stream, 'picasso', entry)
        redis.call('XDEL', stream, entry)
        redis.call('HDEL', KEYS[4], call)
    end
end
