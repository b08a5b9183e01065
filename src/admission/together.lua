-- One turn of a gateway: says what it runs, and asks for a slot for one query.
--
-- KEYS: when each gateway's lease ends; what all run; who waits.
-- ARGV: the gateway; its lease in ms; the beginning of the keys of what each runs; "1" if what was said before is void;
--       how many fields follow, and for each: its name, how many the gateway runs of it;
--       then for each class: its field, the slots that are reserved for it (how many classes, before it);
--       then for each group: its field (how many groups, before it);
--       then, where a slot is asked for: the class's field; how urgent (0 before 1); how long it has waited in ms; and of each
--       limit its field and how many may run.
-- Answers: how it went (0: nothing asked for; 1: granted; 2: another is before it; 3: all slots are used; 4: the limit of
--       the field below; 5: the lease had ended: say everything again); the number of the limit, from 1;
--       then what all run in all, by class, and by group.
local leases, totals, board = KEYS[1], KEYS[2], KEYS[3]
local id, lease, prefix, again = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = 4
local function word()
    at = at + 1
    return ARGV[at]
end
local function count()
    return tonumber(word())
end
local function add(key, field, by)
    if by ~= 0 and redis.call('HINCRBY', key, field, by) <= 0 then
        redis.call('HDEL', key, field)
    end
end
-- What a gateway ran is taken out of what all run.
local function forget(gateway)
    local own = redis.call('HGETALL', prefix .. gateway)
    for n = 1, #own, 2 do
        add(totals, own[n], -tonumber(own[n + 1]))
    end
    redis.call('DEL', prefix .. gateway)
    redis.call('HDEL', board, gateway)
    redis.call('ZREM', leases, gateway)
end
for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 20)) do
    forget(gateway)
end
if again == '1' then
    forget(id)
elseif not redis.call('ZSCORE', leases, id) then
    return {5}
end
redis.call('ZADD', leases, now + lease, id)
local own = prefix .. id
for _ = 1, count() do
    local field, runs = word(), count()
    local before = tonumber(redis.call('HGET', own, field) or 0)
    add(totals, field, runs - before)
    if runs == 0 then
        redis.call('HDEL', own, field)
    else
        redis.call('HSET', own, field, runs)
    end
end
local function all_run(field)
    return tonumber(redis.call('HGET', totals, field) or 0)
end
local classes, groups = {}, {}
for n = 1, count() do
    classes[n] = {field = word(), reserved = count()}
end
for n = 1, count() do
    groups[n] = word()
end
local went, which = 0, 0
if at < #ARGV then
    local class, urgent, waited = word(), count(), count()
    local limits = {}
    while at < #ARGV do
        limits[#limits + 1] = {field = word(), may = count()}
    end
    went = 1
    -- The limits of the query's own first: who cannot run is in nobody's way.
    for n = #limits, 2, -1 do
        if went == 1 and all_run(limits[n].field) >= limits[n].may then
            went, which = 4, n
        end
    end
    if went == 1 then
        local free = limits[1].may - all_run(limits[1].field)
        for _, other in ipairs(classes) do
            if other.field ~= class then
                free = free - math.max(0, other.reserved - all_run(other.field))
            end
        end
        local before = 0
        local since = now - waited
        local waiting = redis.call('HGETALL', board)
        for n = 1, #waiting, 2 do
            local other_urgent, other_since, seen = string.match(waiting[n + 1], '^(%d+):(%d+):(%d+)$')
            other_urgent, other_since, seen = tonumber(other_urgent), tonumber(other_since), tonumber(seen)
            if waiting[n] ~= id and now - seen < 300
                and (other_urgent < urgent or (other_urgent == urgent and other_since < since)) then
                before = before + 1
            end
        end
        if free <= 0 then
            went = 3
        elseif free <= before then
            went = 2
        end
        if went == 1 then
            for _, limit in ipairs(limits) do
                add(totals, limit.field, 1)
                redis.call('HINCRBY', own, limit.field, 1)
            end
            redis.call('HDEL', board, id)
        else
            redis.call('HSET', board, id, urgent .. ':' .. string.format('%.0f', since) .. ':' .. string.format('%.0f', now))
        end
    else
        redis.call('HDEL', board, id)
    end
else
    redis.call('HDEL', board, id)
end
for _, key in ipairs({leases, totals, board, own}) do
    redis.call('PEXPIRE', key, 86400000)
end
local answer = {went, which, all_run('all')}
for _, class in ipairs(classes) do
    answer[#answer + 1] = all_run(class.field)
end
for _, group in ipairs(groups) do
    answer[#answer + 1] = all_run(group)
end
return answer
