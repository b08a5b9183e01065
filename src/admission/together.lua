-- One turn of a gateway: says what it runs and who waits there, and asks for a slot for one of those.
--
-- KEYS: when each gateway's lease ends; what all run; who waits at each; when one of each class was let in last, and how
--       many were; when each principal was, in us.
-- ARGV: the gateway; its lease in ms; the beginning of the keys of what each runs; "1" if what was said before is void;
--       how many fields follow, and for each: its name, how many the gateway runs of it;
--       how many may run in all; after how many ms a class that waits is next; each so many grants of a class the
--       principal is next that was longest without one; a gateway that has not come for how many ms is not waited for;
--       then for each class (how many, before it): its field, the slots that are reserved for it, those that it is
--       guaranteed, how many of it may run, and its place among the classes by weights;
--       then for each group (how many, before it): its field;
--       then for each query that may be next at the gateway (how many, before it), the first of each class before others:
--       its class's field, its principal's, for how long it has waited, for how long its class has been without a grant
--       there, both in ms, and (how many, before it) of each limit of its own: its field, and how many may run.
-- Answers: how it went (0: nobody waits; 1: granted; 2: others are before those who wait here; 5: the lease had ended: say
--       everything again); which was let in, from 1; then for each that was asked for: which limit of its own is reached,
--       from 1, or 0, and how many its principal runs in all; then what all run in all, by class, and by group.
local leases, totals, board, turns, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, lease, prefix, again = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
-- For so long it is remembered when a principal was let in, in ms.
local REMEMBERED = 3600000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local exactly = time[1] * 1000000 + time[2]
local at = 4
local function word()
    at = at + 1
    return ARGV[at]
end
local function number()
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
for _ = 1, number() do
    local field, runs = word(), number()
    local before = tonumber(redis.call('HGET', own, field) or 0)
    add(totals, field, runs - before)
    if runs == 0 then
        redis.call('HDEL', own, field)
    else
        redis.call('HSET', own, field, runs)
    end
end

-- What is counted; it goes on while it is tried who would take which slot.
local counted = {}
local function runs(field)
    if not counted[field] then
        counted[field] = tonumber(redis.call('HGET', totals, field) or 0)
    end
    return counted[field]
end
local most, ageing, oldest_each, fresh = number(), number(), number(), number()
local classes, by_field, groups = {}, {}, {}
for n = 1, number() do
    classes[n] = {field = word(), reserved = number(), guaranteed = number(), may = number(), place = number()}
    by_field[classes[n].field] = classes[n]
end
for n = 1, number() do
    groups[n] = word()
end
local heads = {}
for n = 1, number() do
    local head = {class = word(), principal = word(), came = now - number(), since = now - number(), limits = {}}
    for limit = 1, number() do
        head.limits[limit] = {word(), number()}
    end
    heads[n] = head
end

-- Which limit of a query's own is reached, if one is.
local function reached(head)
    for n, limit in ipairs(head.limits) do
        if runs(limit[1]) >= limit[2] then
            return n
        end
    end
    return 0
end
-- Whether there is a slot that it may have.
local function fits(head)
    if reached(head) > 0 or runs(head.class) >= by_field[head.class].may then
        return false
    end
    local free = most - runs('all')
    for _, other in ipairs(classes) do
        if other.field ~= head.class then
            free = free - math.max(0, other.reserved - runs(other.field))
        end
    end
    return free > 0
end
local function count(head, by)
    counted['all'] = runs('all') + by
    counted[head.class] = runs(head.class) + by
    for _, limit in ipairs(head.limits) do
        counted[limit[1]] = runs(limit[1]) + by
    end
end
local function is_lower(a, b)
    for n = 1, #a do
        if a[n] ~= b[n] then
            return a[n] < b[n]
        end
    end
    return false
end

local went, which, of_heads = 0, 0, {}
for n, head in ipairs(heads) do
    of_heads[2 * n - 1], of_heads[2 * n] = reached(head), runs(head.principal)
end
if #heads > 0 then
    local waiting = {}
    for n, head in ipairs(heads) do
        waiting[n] = {head = head, own = n}
    end
    local records = redis.call('HGETALL', board)
    for n = 1, #records, 2 do
        local record = cjson.decode(records[n + 1])
        if records[n] ~= id and now - record.seen < fresh then
            for _, head in ipairs(record.heads) do
                -- A class that is not configured here yet is nobody's matter.
                if by_field[head.class] then
                    waiting[#waiting + 1] = {head = head}
                end
            end
        end
    end
    -- Since when a class is without a grant, though somebody waits.
    for _, one in ipairs(waiting) do
        local class = by_field[one.head.class]
        class.since = math.min(class.since or now, one.head.since)
        one.last = tonumber(redis.call('ZSCORE', last, one.head.principal) or 0)
    end
    for _, class in ipairs(classes) do
        class.since = math.max(class.since or now, tonumber(redis.call('HGET', turns, class.field) or 0))
        class.granted = tonumber(redis.call('HGET', turns, 'n:' .. class.field) or 0)
    end
    local aged = redis.call('HGET', turns, 'aged') == '1'
    -- The class that is next of those that are open, and whether by age.
    local function next_class(open, several)
        local best, key
        for _, class in ipairs(classes) do
            if open[class.field] and now - class.since >= ageing and (not best or class.since < best.since) then
                best = class
            end
        end
        if best and not (aged and several) then
            return best, several
        end
        best = nil
        for _, class in ipairs(classes) do
            if open[class.field] then
                local is_below = runs(class.field) < class.guaranteed
                local own_key = {1, 0, class.place}
                if is_below then
                    own_key = {0, runs(class.field) / class.guaranteed, class.place}
                end
                if not best or is_lower(own_key, key) then
                    best, key = class, own_key
                end
            end
        end
        return best, false
    end
    -- Everybody who may have a slot takes it, whoever is first before others; until it is one of this gateway's.
    went = 2
    while went == 2 do
        local open, kinds = {}, 0
        for n, one in ipairs(waiting) do
            one.fits = not one.taken and fits(one.head)
            if one.fits and not open[one.head.class] then
                open[one.head.class], kinds = true, kinds + 1
            end
        end
        if kinds == 0 then
            break
        end
        local class, by_age = next_class(open, kinds > 1)
        local best, key
        for _, one in ipairs(waiting) do
            if one.fits and one.head.class == class.field then
                local own_key = {runs(one.head.principal), one.last, one.head.came}
                if class.granted % oldest_each == oldest_each - 1 then
                    own_key[1] = 0
                end
                if not best or is_lower(own_key, key) then
                    best, key = one, own_key
                end
            end
        end
        best.taken, aged = true, by_age
        class.since, class.granted = now, class.granted + 1
        count(best.head, 1)
        if best.own then
            went, which = 1, best.own
            local head = best.head
            local fields = {'all', head.class}
            for _, limit in ipairs(head.limits) do
                fields[#fields + 1] = limit[1]
            end
            for _, field in ipairs(fields) do
                add(totals, field, 1)
                redis.call('HINCRBY', own, field, 1)
            end
            redis.call('HSET', turns, head.class, string.format('%.0f', now), 'aged', aged and '1' or '0')
            redis.call('HINCRBY', turns, 'n:' .. head.class, 1)
            redis.call('ZREMRANGEBYSCORE', last, '-inf', (now - REMEMBERED) * 1000)
            redis.call('ZADD', last, string.format('%.0f', exactly), head.principal)
        end
    end
end
local rest = {}
for n, head in ipairs(heads) do
    if n ~= which then
        rest[#rest + 1] = head
    end
end
if #rest > 0 then
    redis.call('HSET', board, id, cjson.encode({seen = now, heads = rest}))
else
    redis.call('HDEL', board, id)
end
for _, key in ipairs({leases, totals, board, turns, last, own}) do
    redis.call('PEXPIRE', key, 86400000)
end
-- What others would have taken was only tried.
counted = {}
local answer = {went, which}
for _, figure in ipairs(of_heads) do
    answer[#answer + 1] = figure
end
answer[#answer + 1] = runs('all')
for _, class in ipairs(classes) do
    answer[#answer + 1] = runs(class.field)
end
for _, group in ipairs(groups) do
    answer[#answer + 1] = runs(group)
end
return answer
