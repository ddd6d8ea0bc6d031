-- The only way in which values of a market get into Redis: one atomic call that refuses older versions.
--
-- Redis takes back nothing of a call that ends in an error. So no error may come in the middle: rights
-- are looked at before the first write, and the first write is one that a server without memory or
-- disk refuses. What can fail after it is only a key that somebody else wrote; see `clear`.
--
-- KEYS     fence, values, snapshot, changes, history, days, shifts, suspicions, incidents,
--          others (publish/keys.py)
-- ARGV[1]  msgpack map; every number in it is decimal text, since a Lua number is a double
-- ARGV[2]  snapshot JSON            (not for a beat)
-- ARGV[3]  changes JSON or ''       (not for a beat)
-- Returns {word, edition, generation, definitions, as_of_ms, applied}. The word is `written`, `refused`
-- (Redis holds a newer version) or `rewrite` (Redis does not hold what the caller builds on: send
-- everything). The numbers are those found before the call.

local sent = cmsgpack.unpack(ARGV[1])
local fence, values, snapshot, changes, history, days, shifts, suspicions, incidents, others = unpack(KEYS)
local CHUNK = 1000 -- Lua's C stack bounds unpack; an even number keeps pairs together
local TYPES = {'hash', 'hash', 'string', 'stream', 'zset', 'hash', 'hash', 'hash', 'hash', 'hash'} -- of KEYS
local DIGITS = 20 -- at most, in a number of a version

-- Each command below, as it is called. may_write.lua has them too.
local COMMANDS = {
  {'HMGET', fence, ''}, {'HSET', fence, '', ''}, {'HDEL', days, ''}, {'HKEYS', days},
  {'EXISTS', fence}, {'TYPE', fence}, {'DEL', values}, {'PEXPIRE', fence, '0'},
  {'SET', snapshot, ''}, {'SETRANGE', snapshot, '0', ''}, {'XADD', changes, '*', '', ''},
  {'ZADD', history, '0', ''}, {'ZREMRANGEBYSCORE', history, '0', '0'},
}
for _, command in ipairs(COMMANDS) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply("NOPERM this user has no right to run '" .. string.lower(command[1]) .. "'")
  end
end

-- Splits a decimal integer of up to DIGITS digits into two numbers that a double holds exactly.
local function halves(text)
  local negative = string.sub(text, 1, 1) == '-'
  local digits = negative and string.sub(text, 2) or text
  digits = string.rep('0', DIGITS - #digits) .. digits
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

-- Deletes days before the first, and days of members that are none any more: an owner may have died
-- before it could delete them. Without a list of members nobody knows which those are.
local function prune_days(first, members)
  local listed = {}
  for _, name in ipairs(members) do listed[name] = true end
  local limit = tonumber((string.gsub(first, '-', '')))
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', days)) do
    local day = tonumber((string.gsub(string.sub(field, -10), '-', '')))
    local member = string.match(field, '^[^:]*:([^:]*:[^:]*):')
    local gone = #members > 0 and not listed[member or '']
    if not day or day < limit or gone then -- none: somebody else's field
      old[#old + 1] = field
    end
  end
  in_chunks('HDEL', days, old)
end

-- True when the fence holds a version. Another type, or other text, was written by somebody else.
local function is_version(found)
  if found.err or not (found[1] and found[4] and found[5]) then return false end
  for i = 1, 5 do
    local digits = string.match(found[i] or '0', '^-?(%d+)$')
    if not digits or #digits > DIGITS then return false end
  end
  return true
end

local stored = redis.pcall('HMGET', fence, 'edition', 'generation', 'definitions', 'as_of_ms', 'applied')
local present = is_version(stored)
-- Version 0.2 wrote neither of the two: both were 0.
stored[2], stored[3] = stored[2] or '0', stored[3] or '0'
local function answer(word)
  if present then return {word, unpack(stored)} end
  return {word, '', '', '', '', ''}
end

local function refuse()
  -- A key that never expires is no publisher's: without this, a forged version would stand for ever.
  for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], sent.expire_ms, 'NX') end
  return answer('refused')
end

if present and not follows(sent.fence, stored) then return refuse() end

if sent.mode ~= 'full' then
  if not present or compare(stored, sent.base, 1, 5) ~= 0 or not intact() then
    return answer('rewrite')
  end
end

-- True when a key has another type than we give it, so that somebody else wrote it.
local function is_foreign(position)
  local kind = redis.call('TYPE', KEYS[position]).ok
  return kind ~= 'none' and kind ~= TYPES[position]
end

local function write()
  if sent.mode == 'beat' then
    redis.call('HSET', values, '@published_at', sent.published_at)
    redis.call('SETRANGE', snapshot, sent.published_at_offset, sent.published_at)
    return
  end
  if sent.mode == 'full' then
    for i = 1, #KEYS do
      if is_foreign(i) then error('WRONGTYPE ' .. KEYS[i]) end -- some are not written each time
    end
    redis.call('DEL', values)
  end
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
  if sent.days_from ~= '' then prune_days(sent.days_from, sent.members) end
  if sent.shifts_new == '1' then redis.call('DEL', shifts) end
  in_chunks('HSET', shifts, sent.shifts)
  if sent.suspicions_new == '1' then redis.call('DEL', suspicions) end
  in_chunks('HSET', suspicions, sent.suspicions)
  if sent.mode == 'full' then redis.call('DEL', incidents) end
  in_chunks('HDEL', incidents, sent.incidents_gone)
  in_chunks('HSET', incidents, sent.incidents)
  if sent.others_new == '1' then redis.call('DEL', others) end
  in_chunks('HSET', others, sent.others)
end

-- Deletes what readers take for a version, and each key of another type. A stream may have the right
-- type and yet take no entry, when somebody gave it the last ID there is. Days and points of earlier
-- owners stand nowhere else, so they stay.
local function clear()
  redis.call('DEL', values, snapshot, changes)
  for i = 1, #KEYS do
    if is_foreign(i) then redis.call('DEL', KEYS[i]) end
  end
end

-- Only where it must be: after any write, a server without memory takes the others as well.
if not present and redis.call('EXISTS', fence) == 1 then redis.call('DEL', fence) end
-- Before the values, and outside of what is cleared: a server that takes no writes leaves all as it was.
redis.call('HSET', fence, 'edition', sent.fence[1], 'generation', sent.fence[2],
  'definitions', sent.fence[3], 'as_of_ms', sent.fence[4], 'applied', sent.fence[5])
local done, why = pcall(write)
if not done then
  clear()
  -- One who builds on what Redis held must now tell readers of the stream everything.
  if not sent.base then done, why = pcall(write) end
  if not done then clear() end
end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], sent.expire_ms) end
if done then return answer('written') end
if sent.base then return answer('rewrite') end
error(why)
