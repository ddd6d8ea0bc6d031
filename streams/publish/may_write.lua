-- Uses each command of the other scripts once, so that a missing right is found before a market is taken.
--
-- KEYS  hash, string, stream, zset, set: keys of no market, which are gone when this ends

local hash, text, stream, zset, set = unpack(KEYS)
redis.call('HSET', hash, 'a', '1')
redis.call('HMGET', hash, 'a')
redis.call('HKEYS', hash)
redis.call('HDEL', hash, 'a')
redis.call('SET', text, '1')
redis.call('SETRANGE', text, 0, '2')
redis.call('XADD', stream, 'MAXLEN', '1', '*', 'a', '1')
redis.call('ZADD', zset, '1', 'a')
redis.call('ZREMRANGEBYSCORE', zset, '-inf', '1')
redis.call('SADD', set, 'a')
for i = 1, #KEYS do
  redis.call('TYPE', KEYS[i])
  redis.call('EXISTS', KEYS[i])
  redis.call('PEXPIRE', KEYS[i], '1')
  redis.call('DEL', KEYS[i])
end
