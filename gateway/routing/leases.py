"""Slots of deployments, leased from Redis in the background: no request ever waits for Redis.

A deployment has `cap` slots. Each worker holds some and admits no more requests than it holds, and
the script below hands out only what nobody holds, so all workers together never have more than
`cap` in flight. At rest each holds its share, the same it would have without Redis; what some do
not need, others may borrow, and give back when it is asked for.
"""

import asyncio
import os
import secrets
import socket
from contextlib import suppress

import redis.asyncio
import structlog

from gateway.routing.fleet import Fleet

log = structlog.get_logger(__name__)

KEY_PREFIX = "selfhosted-duo:slots:"
LEASE_S = 3.0
RENEW_EVERY_S = 0.2
#: While a request waits for a slot of another worker.
RENEW_IN_NEED_S = 0.05
#: At most so often, however many requests come and go.
LEAST_GAP_S = 0.01
_SOCKET_TIMEOUT_S = 0.2

#: Takes for each key the cap, what the worker keeps and what it needs, and whether it has served
#: before. Returns for each what it may hold now, and what that falls to as its requests end,
#: because others have too little.
_SCRIPT = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local result = {}
for i, key in ipairs(KEYS) do
  local cap, kept, needed = tonumber(ARGV[4*i-1]), tonumber(ARGV[4*i]), tonumber(ARGV[4*i+1])
  -- Who has served and has no lease here was forgotten, or Redis was away; others may have fared
  -- the same. Until each has had the time to say what it holds, all keep just that.
  local mine = redis.call('HGET', key, worker)
  local leased_until_ms = mine and tonumber(string.match(mine, '%d+$')) or 0
  if ARGV[4*i+2] == '1' and leased_until_ms < now_ms then
    redis.call('HSET', key, 'unsure', now_ms + math.floor(lease_ms / 3))
  end
  local is_unsure = tonumber(redis.call('HGET', key, 'unsure') or 0) > now_ms
  local others, held = {}, 0
  local rows = redis.call('HGETALL', key)
  for j = 1, #rows, 2 do
    if rows[j] ~= worker and rows[j] ~= 'unsure' then
      local count, need, until_ms = string.match(rows[j+1], '^(%d+) (%d+) (%d+)$')
      -- A row that cannot be read, or is from the future, is nobody's either.
      local left_ms = until_ms and tonumber(until_ms) - now_ms or -1
      if left_ms < 0 or left_ms > 2 * lease_ms then
        redis.call('HDEL', key, rows[j])
      else
        others[#others+1] = {held = tonumber(count), need = tonumber(need)}
        held = held + tonumber(count)
      end
    end
  end
  local share = math.floor(cap / (#others + 1))
  local fair = math.max(share, 1)
  -- What others lack: of what they need within their share, of all they need, of what they rest at.
  local owed, wanted, rested = 0, 0, 0
  for _, other in ipairs(others) do
    owed = owed + math.max(0, math.min(other.need, fair) - other.held)
    wanted = wanted + math.max(0, other.need - other.held)
    rested = rested + math.max(0, math.max(other.need, share) - other.held)
  end
  local free = math.max(0, cap - held - kept)
  local granted = math.max(
    kept,
    math.min(kept + free, needed, fair),
    math.min(kept + free - owed, needed),
    math.min(kept + free - wanted, share)
  )
  local left = cap - held - granted
  local falls_to = math.min(
    granted,
    math.max(math.min(needed, fair), granted - math.max(0, owed - left)),
    math.max(needed, granted - math.max(0, wanted - left)),
    math.max(needed, share, granted - math.max(0, rested - left))
  )
  if is_unsure then
    granted, falls_to = kept, kept
  end
  redis.call('HSET', key, worker, granted .. ' ' .. needed .. ' ' .. (now_ms + lease_ms))
  redis.call('PEXPIRE', key, lease_ms * 10)
  result[#result+1] = granted
  result[#result+1] = falls_to
end
return result
"""


class SlotLeases:
    """Keeps the lines of one worker supplied with slots.

    Args:
        redis_url: Where slots are counted.
        fleet: Whose lines they are for.
        lease_s: A worker that says nothing for so long has died; its slots are free.
    """

    def __init__(self, redis_url: str, fleet: Fleet, lease_s: float = LEASE_S) -> None:
        self._fleet = fleet
        self._lease_s = lease_s
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._client = redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_SOCKET_TIMEOUT_S,
            retry=None,
        )
        self._script = self._client.register_script(_SCRIPT)
        self._leased_at: float | None = None
        self._served: set[str] = set()

    async def renew_when_due(self) -> float:
        """Lease for all lines, then wait until it is time again, or a request waits for a slot."""
        await self.renew()
        lines = self._fleet.lines.values()
        if any(line.limit > max(line.in_flight, line.shrinks_to) for line in lines):
            return LEAST_GAP_S  # another worker waits for what this one can give back now
        in_need = any(line.waiting for line in lines)
        with suppress(TimeoutError):
            wait_s = RENEW_IN_NEED_S if in_need else RENEW_EVERY_S
            await asyncio.wait_for(self._fleet.slots_wanted.wait(), wait_s)
        self._fleet.slots_wanted.clear()
        return LEAST_GAP_S

    async def renew(self) -> None:
        """Tell Redis what each line keeps and needs, and take what it grants."""
        lines = dict(self._fleet.lines)
        if not lines:
            return
        arguments: list[str | int] = [self._worker, int(self._lease_s * 1000)]
        for name, line in lines.items():
            # Given back before Redis is told, so that nothing is admitted on it any more.
            line.lend(max(line.in_flight, min(line.limit, line.shrinks_to)))
            needed = line.in_flight + line.waiting
            arguments += [line.cap, line.limit, needed, int(name in self._served)]
        self._served = set(lines)
        try:
            keys = [KEY_PREFIX + name for name in lines]
            answer = await self._script(keys=keys, args=arguments)
        except (redis.RedisError, OSError, TimeoutError) as error:
            self._go_on_without(error)
            return
        if self._leased_at is None:
            log.info("slots.leased", deployments=len(lines))
        self._leased_at = self._fleet.now()
        for line, granted, falls_to in zip(lines.values(), answer[::2], answer[1::2], strict=True):
            line.lend(int(granted), shrinks_to=int(falls_to))

    def _go_on_without(self, error: Exception) -> None:
        """Without Redis a worker falls back to its share.

        What it lent is not taken back before the borrowers' leases are over.
        """
        now = self._fleet.now()
        is_over = self._leased_at is None or now - self._leased_at >= self._lease_s
        if is_over and self._leased_at is not None:
            log.warning("slots.not_leased", error=type(error).__name__)
            self._leased_at = None
        for line in self._fleet.lines.values():
            share = self._fleet.local_share(line.cap)
            limit = max(line.limit, share) if is_over or not line.limit else line.limit
            line.lend(limit, shrinks_to=min(limit, share))

    async def aclose(self) -> None:
        """Give everything back."""
        with suppress(redis.RedisError, OSError, TimeoutError):
            async with self._client.pipeline(transaction=False) as pipeline:
                for name in self._fleet.lines:
                    pipeline.hdel(KEY_PREFIX + name, self._worker)
                await pipeline.execute()
        await self._client.aclose()
