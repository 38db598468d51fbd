"""How often a token may ask the Engagement API and the analytics: so many requests in each minute of the clock."""

from __future__ import annotations

import time
from typing import NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

# What comes through when Redis or the database is away: an answer of 503, and asking again helps.
OUTAGES = (RedisError, OSError, OperationalError, InterfaceError)
RETRY_SECONDS = 5


class Quota(NamedTuple):
    """What is left of the running minute; `reset` is the Unix second at which the next begins."""

    limit: int
    remaining: int
    reset: int
    is_spent: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """As the Engagement API tells it."""
        return {"x-per-minute-limit": str(self.limit), "x-per-minute-remaining": str(self.remaining)}


def whole() -> Quota:
    """That of a caller who is not known."""
    limit = settings.ENGAGEMENT_REQUESTS_PER_MINUTE
    return Quota(limit, limit, _next_minute())


def take(token_id: int) -> Quota:
    """Count one request of the token, in all processes together."""
    limit, reset = settings.ENGAGEMENT_REQUESTS_PER_MINUTE, _next_minute()
    key = f"engagement-quota:{token_id}:{reset}"
    cache.add(key, 0, 120)
    used = cache.incr(key)
    return Quota(limit, max(0, limit - used), reset, used > limit)


def _next_minute() -> int:
    return (int(time.time()) // 60 + 1) * 60
