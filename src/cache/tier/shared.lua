-- Answers that gateways share, within a bound: the oldest go first.
--
-- KEYS: the answers' names by when they were kept, in ms; the bytes of each; the bytes of all; the epoch, another after each
--       purge.
-- ARGV: the beginning of the keys of answers; what is to be done, and:
--       look, a name, the source that is here already, what the epoch is if there is none yet
--           Answers: the epoch, and nothing, the source alone if it is that one, or the source and the answer.
--       keep, a name, the epoch in which it was begun, or nothing if any will do, its source, the answer, its note, its life in ms, the most bytes of all
--           Answers: whether it was begun in this epoch, and is kept.
--       purge, the next epoch
--           Answers: all names.
--       notes, names
--           Answers: the note of each, or false.
--       drop, names
--           Answers: how many were there.
--       claim, a name, a gateway, for how long in ms
--           Answers: whether the question is that gateway's to ask before anybody does.
local order, sizes, total, epoch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, verb = ARGV[1], ARGV[2]
-- What an answer takes besides its bytes.
local OVERHEAD = 512

local function forget(name)
    local size = redis.call('HGET', sizes, name)
    if size then
        redis.call('DECRBY', total, size)
        redis.call('HDEL', sizes, name)
    end
    redis.call('ZREM', order, name)
    return redis.call('DEL', prefix .. name)
end

if verb == 'look' then
    local now = redis.call('GET', epoch)
    if not now then
        now = ARGV[5]
        redis.call('SET', epoch, now)
    end
    local source = redis.call('HGET', prefix .. ARGV[3], 'source')
    if not source then
        return {now}
    elseif source == ARGV[4] then
        return {now, source}
    end
    return {now, source, redis.call('HGET', prefix .. ARGV[3], 'answer')}
elseif verb == 'keep' then
    local name, begun, source, answer, note = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
    local life, most = ARGV[8], tonumber(ARGV[9])
    if begun ~= '' and redis.call('GET', epoch) ~= begun then
        return 0
    end
    forget(name)
    local size = #answer + #note + #source + OVERHEAD
    local all = tonumber(redis.call('GET', total) or 0) + size
    while all > most do
        local oldest = redis.call('ZRANGE', order, 0, 0)[1]
        if not oldest then
            -- Redis has lost what they were.
            redis.call('DEL', sizes, total)
            break
        end
        forget(oldest)
        all = tonumber(redis.call('GET', total) or 0) + size
    end
    local time = redis.call('TIME')
    -- The books first: what they have too much is found, what they lack is not.
    redis.call('ZADD', order, time[1] * 1000 + math.floor(time[2] / 1000), name)
    redis.call('HSET', sizes, name, size)
    redis.call('INCRBY', total, size)
    redis.call('HSET', prefix .. name, 'source', source, 'answer', answer, 'note', note)
    redis.call('PEXPIRE', prefix .. name, life)
    return 1
elseif verb == 'purge' then
    redis.call('SET', epoch, ARGV[3])
    return redis.call('ZRANGE', order, 0, -1)
elseif verb == 'notes' then
    local notes = {}
    for n = 3, #ARGV do
        notes[n - 2] = redis.call('HGET', prefix .. ARGV[n], 'note')
    end
    return notes
elseif verb == 'drop' then
    local there = 0
    for n = 3, #ARGV do
        there = there + forget(ARGV[n])
    end
    return there
elseif verb == 'claim' then
    local claim = prefix .. 'claim:' .. ARGV[3]
    local holder = redis.call('GET', claim)
    if holder and holder ~= ARGV[4] then
        return 0
    end
    redis.call('SET', claim, ARGV[4], 'PX', ARGV[5])
    return 1
end
return redis.error_reply('unknown verb')
