-- Takes entries, the highest priority first: those whose visibility time has passed, then new ones.
-- KEYS: the streams of the priorities 0, 1 and 2. ARGV: how many, the visibility time in ms.
-- Answers receipt, call and project, for each.
local left, taken = tonumber(ARGV[1]), {}
local function add(priority, entries)
    for _, entry in ipairs(entries or {}) do
        if entry and entry[2] then
            taken[#taken + 1] = priority .. ':' .. entry[1]
            taken[#taken + 1] = entry[2][2]
            taken[#taken + 1] = entry[2][4] or ''
            left = left - 1
        end
    end
end
for priority = 2, 0, -1 do
    local stream = KEYS[priority + 1]
    if left > 0 then
        add(priority, redis.call('XAUTOCLAIM', stream, 'picasso', 'picasso', ARGV[2], '0-0', 'COUNT', left)[2])
    end
    if left > 0 then
        local read = redis.call('XREADGROUP', 'GROUP', 'picasso', 'picasso', 'COUNT', left, 'STREAMS', stream, '>')
        if read then add(priority, read[1][2]) end
    end
end
return taken
