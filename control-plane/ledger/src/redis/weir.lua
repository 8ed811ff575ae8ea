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

-- One window of one counter: now (0: the server's clock), start and end (0: never), limit, its version, length of a
-- rolling window (0: calendar), how long before its start a window may be granted in. Then six for each vector: session
-- and lane, g, r, u, freed, amount. A grant raises to g + amount, so that one that is sent twice counts once. All
-- vectors are merged before any is granted, for what some return may be what others get. Answers committed, used, and for each vector g and whether it had
-- been forgotten.
local function sync(keys, args)
  local c, w, r = keys[1], keys[2], keys[3]
  local now = clock(args[1])
  local start, ends = num(args[2]), num(args[3])
  local limit, version, window, ahead = num(args[4]), num(args[5]), num(args[6]), num(args[7])

  local state = redis.call('HMGET', c, 'version', 'limit', 'newest')
  if version >= num(state[1]) then
    if version > num(state[1]) or limit ~= num(state[2]) then
      redis.call('HSET', c, 'version', text(version), 'limit', text(limit))
    end
  else
    limit = num(state[2])
  end
  local open = (ends == 0 or now < ends) and now + ahead >= start and start >= num(state[3]) - 1
  -- A window that has begun closes those before it.
  if start > num(state[3]) and now >= start then
    redis.call('HSET', c, 'newest', text(start))
  end

  local names = { '.com', '.used', '.out' }
  for i = 8, #args, 6 do
    names[#names + 1] = args[i]
  end
  local found = redis.call('HMGET', w, unpack(names))
  local com, sum, out = num(found[1]), num(found[2]), num(found[3])
  local bucket, ring, charged = 0, 0, 0
  if window > 0 then
    bucket, ring = advance(c, r, now, window)
  end

  local vectors = {}
  for i = 4, #names do
    local at = 8 + (i - 4) * 6
    local v = { g = 0, r = 0, u = 0, f = 0 }
    if found[i] then
      local g, b, u, f = string.match(found[i], '^(%d+) (%d+) (%d+) (%d+)$')
      v = { g = num(g), r = num(b), u = num(u), f = num(f) }
    end
    com, sum, out = com - committed(v), sum - v.u, out - outstanding(v)
    local g, used = num(args[at + 1]), v.u
    v.healed = g > v.g
    v.target = g + num(args[at + 5])
    v.grows = num(args[at + 5]) > 0
    v.g, v.r = math.max(v.g, g), math.max(v.r, num(args[at + 2]))
    v.u, v.f = math.max(v.u, num(args[at + 3])), math.max(v.f, num(args[at + 4]))
    charged = charged + v.u - used
    com, sum, out = com + committed(v), sum + v.u, out + outstanding(v)
    vectors[#vectors + 1] = v
  end
  if window > 0 and charged > 0 then
    redis.call('HINCRBY', r, text(bucket), text(charged))
    ring = ring + charged
    redis.call('HSET', c, 'sum', text(ring))
  end

  -- All returns are in: what they free may be what was granted.
  local row = { '.com', '', '.used', '', '.out', '' }
  local answer = { '', '' }
  for i, v in ipairs(vectors) do
    if v.grows and open and not fenced(v) then
      local taken = window > 0 and out + ring or com
      local more = math.max(math.min(v.target - v.g, limit - taken), 0)
      com, out = com - committed(v), out - outstanding(v)
      v.g = v.g + more
      com, out = com + committed(v), out + outstanding(v)
    end
    row[#row + 1] = names[i + 3]
    row[#row + 1] = text(v.g) .. ' ' .. text(v.r) .. ' ' .. text(v.u) .. ' ' .. text(v.f)
    answer[#answer + 1] = text(v.g)
    answer[#answer + 1] = v.healed and '1' or '0'
  end
  row[2], row[4], row[6] = text(com), text(sum), text(out)
  redis.call('HSET', w, unpack(row))
  if window > 0 then
    com, sum = out + ring, ring
  end
  answer[1], answer[2] = text(com), text(sum)
  return answer
end

redis.register_function('weir1_sync', sync)
