-- Adds entries to a key of no market, which expires a while after the last of them.
--
-- KEYS[1]   the key
-- ARGV[1]   its type: a key of another type was written by somebody else, and is deleted
-- ARGV[2]   ms until it expires
-- ARGV[3..] SADD or HSET, and what follows the key

local key, kind, expire_ms, add = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

-- Before the first write: a key to which something was added, but no expiry, would stand for ever.
for _, command in ipairs({{add, key, '', ''}, {'TYPE', key}, {'DEL', key}, {'PEXPIRE', key, '0'}}) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply("NOPERM this user has no right to run '" .. string.lower(command[1]) .. "'")
  end
end
local found = redis.call('TYPE', key).ok
if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
redis.call(add, key, unpack(ARGV, 4))
redis.call('PEXPIRE', key, expire_ms)
