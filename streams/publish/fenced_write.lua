-- The only way in which values of a market get into Redis: one atomic call that refuses older versions.
--
-- KEYS     fence, values, snapshot, changes, history, days, shifts (publish/keys.py)
-- ARGV[1]  msgpack map; every number in it is decimal text, since a Lua number is a double
-- ARGV[2]  snapshot JSON            (not for a beat)
-- ARGV[3]  changes JSON or ''       (not for a beat)
-- Returns {word, edition, generation, definitions, as_of_ms, applied}. The word is `written`, `refused`
-- (Redis holds a newer version) or `rewrite` (Redis does not hold what the caller builds on: send
-- everything). The numbers are those found before the call.

local sent = cmsgpack.unpack(ARGV[1])
local fence, values, snapshot, changes, history, days, shifts = unpack(KEYS)
local CHUNK = 1000 -- Lua's C stack bounds unpack; an even number keeps pairs together

-- Splits a decimal integer of up to 20 digits into two numbers that a double holds exactly.
local function halves(text)
  local negative = string.sub(text, 1, 1) == '-'
  local digits = negative and string.sub(text, 2) or text
  digits = string.rep('0', 20 - #digits) .. digits
  local high, low = tonumber(string.sub(digits, 1, 10)), tonumber(string.sub(digits, 11))
  if negative then return -high, -low end
  return high, low
end

-- Compares the numbers of two versions from one place to another; the first that differs decides.
local function compare(left, right, first, last)
  for i = first, last do
    local left_high, left_low = halves(left[i])
    local right_high, right_low = halves(right[i])
    if left_high ~= right_high then return left_high < right_high and -1 or 1 end
    if left_low ~= right_low then return left_low < right_low and -1 or 1 end
  end
  return 0
end

-- True when a version may replace the one that is held (Fence.follows): edition and generation decide.
-- Within them neither the definitions nor (as_of_ms, applied) may fall.
local function follows(new, held)
  local order = compare(new, held, 1, 2)
  if order ~= 0 then return order > 0 end
  return compare(new, held, 3, 3) >= 0 and compare(new, held, 4, 5) >= 0
end

-- True when every key that the caller wrote before still exists. A server that was emptied, was
-- restarted or ran short of memory has lost some.
local function intact()
  for i = 1, #KEYS do
    if string.sub(sent.required, i, i) == '1' and redis.call('EXISTS', KEYS[i]) == 0 then
      return false
    end
  end
  return true
end

local function in_chunks(command, key, list)
  for i = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, i, math.min(i + CHUNK - 1, #list)))
  end
end

local function prune_days(first)
  local limit = tonumber((string.gsub(first, '-', '')))
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', days)) do
    if tonumber((string.gsub(string.sub(field, -10), '-', ''))) < limit then
      old[#old + 1] = field
    end
  end
  in_chunks('HDEL', days, old)
end

local stored = redis.call('HMGET', fence, 'edition', 'generation', 'definitions', 'as_of_ms', 'applied')
local present = stored[1] and stored[4] and stored[5]
-- Version 0.2 wrote neither of the two: both were 0.
stored[2], stored[3] = stored[2] or '0', stored[3] or '0'
local function answer(word)
  if present then return {word, unpack(stored)} end
  return {word, '', '', '', '', ''}
end

if present and not follows(sent.fence, stored) then return answer('refused') end

if sent.mode ~= 'full' then
  if not present or compare(stored, sent.base, 1, 5) ~= 0 or not intact() then
    return answer('rewrite')
  end
end

if sent.mode == 'beat' then
  redis.call('HSET', values, '@published_at', sent.published_at)
  redis.call('SETRANGE', snapshot, sent.published_at_offset, sent.published_at)
else
  -- The fence comes first: a call that ends in an error must not leave new values under an old fence.
  redis.call('HSET', fence, 'edition', sent.fence[1], 'generation', sent.fence[2],
    'definitions', sent.fence[3], 'as_of_ms', sent.fence[4], 'applied', sent.fence[5])
  if sent.mode == 'full' then redis.call('DEL', values) end
  in_chunks('HDEL', values, sent.gone)
  in_chunks('HSET', values, sent.values)
  redis.call('SET', snapshot, ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('XADD', changes, 'MAXLEN', sent.changes_max, '*', 'as_of', sent.as_of,
      'edition', sent.fence[1], 'generation', sent.fence[2], 'sources', sent.sources, 'whole', sent.whole, 'changes', ARGV[3])
  end
  for i = 1, #sent.history_clear, 2 do
    redis.call('ZREMRANGEBYSCORE', history, sent.history_clear[i], sent.history_clear[i + 1])
  end
  in_chunks('ZADD', history, sent.history)
  redis.call('ZREMRANGEBYSCORE', history, '-inf', '(' .. sent.history_from)
  in_chunks('HDEL', days, sent.days_gone)
  in_chunks('HSET', days, sent.days)
  if sent.days_from ~= '' then prune_days(sent.days_from) end
  if sent.shifts_new == '1' then redis.call('DEL', shifts) end
  in_chunks('HSET', shifts, sent.shifts)
end

for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], sent.expire_ms) end
return answer('written')
