"""People are told apart, never named: a keyed hash of this installation stands for each from the border on.

The key is PEOPLE_KEY, or made from SECRET_KEY where there is none. Whoever has the hashes but not the key cannot tell
whose they are. A new key begins a new epoch: the same person has another hash in it, so that people of two epochs
can never be matched, and sketches of two epochs are never merged.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from hashlib import blake2b

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import Max

from metrics.models import PersonEpoch
from metrics.vocabulary.events import MAX_EPOCH

_KEY = blake2b((settings.PEOPLE_KEY or settings.SECRET_KEY).encode(), digest_size=32, person=b"it-people").digest()
_FINGERPRINT = blake2b(_KEY, digest_size=16, person=b"it-fingerprint").hexdigest()


def person_of(user_id: str | None) -> int:
    """The signed 64-bit keyed hash that stands for a person; 0 for nobody."""
    if not user_id:
        return 0
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8, key=_KEY).digest(), "little", signed=True)


@cache
def epoch() -> int:
    """The number of the present key's epoch, which begins when the key is first used. Asks the database once."""
    while (known := PersonEpoch.objects.filter(fingerprint=_FINGERPRINT).first()) is None:
        newest = PersonEpoch.objects.aggregate(newest=Max("number"))["newest"]
        number = 0 if newest is None else newest + 1
        if number > MAX_EPOCH:
            raise ImproperlyConfigured(f"PEOPLE_KEY: changed more than {MAX_EPOCH} times; use one of those again.")
        with suppress(IntegrityError), transaction.atomic():  # another process may have been first
            PersonEpoch.objects.create(number=number, fingerprint=_FINGERPRINT)
    return known.number
