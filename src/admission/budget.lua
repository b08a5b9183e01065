-- Adds what a gateway's queries have used, and says what all have.
--
-- KEYS: what is used on a day.
-- ARGV: for how long it is kept, in ms; then for each budget: its field, and of it bytes read, rows read, ms of CPU that are
--       new.
-- Answers: of each budget the three figures.
local used = KEYS[1]
local answer = {}
for n = 2, #ARGV, 4 do
    for figure = 1, 3 do
        local field = ARGV[n] .. ':' .. figure
        local new = ARGV[n + figure]
        if new == '0' then
            answer[#answer + 1] = tonumber(redis.call('HGET', used, field) or 0)
        else
            answer[#answer + 1] = redis.call('HINCRBY', used, field, new)
        end
    end
end
redis.call('PEXPIRE', used, ARGV[1])
return answer
