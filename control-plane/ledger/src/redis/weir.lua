#!lua name=weir1
-- The ledger's arithmetic where it must be atomic: merge one vector by maximum, raise what it was granted if the limit
-- allows, keep the sums. Who gets how much is decided by the control plane; here nothing is granted beyond a limit,
-- whatever a control plane believes. Numbers are doubles: everything stays exact below 2^53, and larger limits are
-- refused by whoever calls.
--
-- Keys share the counter's slot: c (limit, version, newest window), w (one window: a field per session and lane, with
-- granted, returned, used, freed; and the sums), r (buckets of a rolling window).

local BUCKETS = 60

local function num(s) return tonumber(s or '0') or 0 end
local function text(n) return string.format('%.0f', n) end
local function owed(v) return math.max(v.g - v.r - v.u, 0) end
local function fenced(v) return v.f == v.g + 1 and owed(v) > 0 end
local function outstanding(v) return fenced(v) and 0 or owed(v) end
local function committed(v) return fenced(v) and v.u or math.max(v.g - v.r, v.u) end

local function clock(given)
  local now = num(given)
  if now > 0 then return now end
  local t = redis.call('TIME')
  return num(t[1]) * 1000 + math.floor(num(t[2]) / 1000)
end

-- Buckets that no longer count leave; the bucket that fills, and the sum of all.
local function advance(c, r, now, window)
  local length = math.max(math.ceil(window / BUCKETS), 1)
  local state = redis.call('HMGET', c, 'bucket', 'sum')
  local bucket, sum = num(state[1]), num(state[2])
  local current = math.floor(now / length)
  if current > bucket then
    local all = redis.call('HGETALL', r)
    for i = 1, #all, 2 do
      if num(all[i]) + BUCKETS < current then
        sum = sum - num(all[i + 1])
        redis.call('HDEL', r, all[i])
      end
    end
    bucket = current
    redis.call('HSET', c, 'bucket', text(bucket), 'sum', text(sum))
  end
  return bucket, sum
end

-- now (0: the server's clock), start and end of the window (end 0: never), session and lane, g, r, u, freed, amount,
-- limit, its version, length of a rolling window (0: calendar), how long before its start a window may be granted in.
-- A grant raises to g + amount, so that one that is sent twice counts once. Answers g, committed, used, and whether g
-- was forgotten.
local function sync(keys, args)
  local c, w, r = keys[1], keys[2], keys[3]
  local now = clock(args[1])
  local start, ends, field = num(args[2]), num(args[3]), args[4]
  local g, ret, used, freed, amount = num(args[5]), num(args[6]), num(args[7]), num(args[8]), num(args[9])
  local limit, version, window, ahead = num(args[10]), num(args[11]), num(args[12]), num(args[13])

  local state = redis.call('HMGET', c, 'version', 'limit', 'newest')
  if version >= num(state[1]) then
    if version > num(state[1]) or limit ~= num(state[2]) then
      redis.call('HSET', c, 'version', text(version), 'limit', text(limit))
    end
  else
    limit = num(state[2])
  end

  local found = redis.call('HMGET', w, field, '.com', '.used', '.out')
  local v = { g = 0, r = 0, u = 0, f = 0 }
  if found[1] then
    local a, b, d, e = string.match(found[1], '^(%d+) (%d+) (%d+) (%d+)$')
    v = { g = num(a), r = num(b), u = num(d), f = num(e) }
  end
  local com, sum, out = num(found[2]), num(found[3]), num(found[4])
  local was = { committed = committed(v), used = v.u, outstanding = outstanding(v) }
  local healed = g > v.g
  v.g, v.r = math.max(v.g, g), math.max(v.r, ret)
  v.u, v.f = math.max(v.u, used), math.max(v.f, freed)

  local function total()
    com = com - was.committed + committed(v)
    sum = sum - was.used + v.u
    out = out - was.outstanding + outstanding(v)
    was = { committed = committed(v), used = v.u, outstanding = outstanding(v) }
  end

  local ring = 0
  if window > 0 then
    local bucket
    bucket, ring = advance(c, r, now, window)
    local charge = v.u - was.used
    if charge > 0 then
      redis.call('HINCRBY', r, text(bucket), text(charge))
      ring = ring + charge
      redis.call('HSET', c, 'sum', text(ring))
    end
  end
  total()

  local open = (ends == 0 or now < ends) and now + ahead >= start and start >= num(state[3]) - 1
  if amount > 0 and open and not fenced(v) then
    local taken = com
    if window > 0 then taken = out + ring end
    local more = math.max(math.min(g + amount - v.g, limit - taken), 0)
    v.g = v.g + more
    total()
  end
  -- A window that has begun closes those before it.
  if start > num(state[3]) and now >= start then
    redis.call('HSET', c, 'newest', text(start))
  end
  redis.call('HSET', w, field, text(v.g) .. ' ' .. text(v.r) .. ' ' .. text(v.u) .. ' ' .. text(v.f),
    '.com', text(com), '.used', text(sum), '.out', text(out))
  if window > 0 then
    com, sum = out + ring, ring
  end
  return { text(v.g), text(com), text(sum), healed and 1 or 0 }
end

redis.register_function('weir1_sync', sync)
