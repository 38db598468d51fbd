"""Request bodies that cost next to nothing to make: fixed-width events in an array, of which only digits change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from metrics.vocabulary.engagements import CODE, N_TYPES, NAMES, TYPES, Counts

# A believable mix, in percent; the rest is spread over all types.
_MIX = {"impressions": 60, "favorites": 12, "url_clicks": 6, "retweets": 4, "detail_expands": 4, "video_starts": 4}
_PERSON = b"u0000000"
# Each round brings so many others, one of three comes again; after all have come, the first come again.
_PEOPLE, _NEW = 200_000, 2 / 3
_NUMBER = b"00000000"
_CLOCK = b"2026-01-01T00:00:00.000000Z"


class Template:
    """A run of events over some Tweets: the same Tweets and types again in each round, under new ids, by other people.

    Row n of all that is ever sent is event `n % events` of round `n // events`. `only_impressions` gives one Tweet
    after the other its share.
    """

    def __init__(self, run: str, tweets: Sequence[int], events: int, *, only_impressions: bool = False) -> None:
        random = np.random.default_rng(1)
        codes = np.zeros(events, dtype=np.int64) if only_impressions else _codes(random, events)
        places = random.integers(len(tweets), size=events)
        if only_impressions:
            places = np.arange(events) % len(tweets)
        promoted = [TYPES[code].promotable and number % 4 == 0 for number, code in enumerate(codes)]
        texts = [
            _event(run, number, tweets[places[number]], NAMES[codes[number]], promoted[number])
            for number in range(events)
        ]
        self.events = events
        self._rows = np.frombuffer(b"".join(texts), dtype=np.uint8).reshape(events, -1).copy()
        number_at, clock_at, person_at = (texts[0].index(digits) for digits in (_NUMBER, _CLOCK, _PERSON))
        self._number = self._rows[:, number_at : number_at + len(_NUMBER)]
        self._clock = self._rows[:, clock_at : clock_at + len(_CLOCK)]
        self._person = self._rows[:, person_at : person_at + len(_PERSON)]
        people = b"".join(b"u%07d" % number for number in random.permutation(_PEOPLE + events).tolist())
        self._people = np.frombuffer(people, dtype=np.uint8).reshape(-1, len(_PERSON))
        self._what = (places, np.asarray(promoted, dtype=np.int64), codes)
        self._tweets = len(tweets)

    def body(self, number: int) -> bytes:
        """All events under the ids of round `number`, occurring now."""
        self._set(number)
        return b"[%s]" % self._rows.tobytes()[:-1]

    def single(self, number: int) -> bytes:
        """Row `number` alone, occurring now."""
        number, row = divmod(number, self.events)
        self._set(number)
        return b"[%s]" % self._rows[row].tobytes()[:-1]

    def expected(self, rows: int) -> Counts:
        """int64[tweets, 2, 26]: what the first `rows` rows add up to."""
        rounds, rest = divmod(rows, self.events)
        times = np.full(self.events, rounds, dtype=np.int64)
        times[:rest] += 1
        counts = np.zeros((self._tweets, 2, N_TYPES), dtype=np.int64)
        np.add.at(counts, self._what, times)
        return counts

    def _set(self, number: int) -> None:
        self._number[:] = np.frombuffer(b"%08d" % number, dtype=np.uint8)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        self._clock[:] = np.frombuffer(now, dtype=np.uint8)
        first = round(number * self.events * _NEW) % _PEOPLE
        self._person[:] = self._people[first : first + self.events]


def _codes(random: np.random.Generator, events: int) -> Counts:
    chances = np.full(N_TYPES, (100 - sum(_MIX.values())) / N_TYPES)
    chances[[CODE[name] for name in _MIX]] += list(_MIX.values())
    return random.choice(N_TYPES, size=events, p=chances / 100)


def _event(run: str, number: int, tweet_id: int, name: str, promoted: bool) -> bytes:
    """One event with a comma after it, as wide as every other: JSON may hold spaces after a value."""
    kind = f'"{name}"'.ljust(max(map(len, NAMES)) + 2)
    truth = "true " if promoted else "false"
    fields = (
        f'"id":"{run}-{_NUMBER.decode()}-{number:05}"',
        f'"tweet_id":"{tweet_id:019}"',
        f'"type":{kind}',
        f'"occurred_at":"{_CLOCK.decode()}"',
        f'"promoted":{truth}',
        f'"user_id":"{_PERSON.decode()}"',
    )
    return ("{" + ",".join(fields) + "},").encode()
