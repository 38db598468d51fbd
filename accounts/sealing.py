"""Secrets that must be read again, kept encrypted: whoever has a copy of the database alone learns nothing.

What is written is sealed under the newest key; what was sealed under an older one, or under SECRET_KEY, still opens.
`reseal` brings everything under the newest key, after which the older ones can be thrown away.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models, transaction

M = TypeVar("M", bound=models.Model)
_ROWS_AT_ONCE = 200
_sealed_columns: dict[type[models.Model], tuple[str, ...]] = {}


class BrokenSealError(ValueError):
    """No key of this installation opens the text, or it is not sealed text at all."""


@dataclass(slots=True)
class Resealed:
    """What `reseal` found: values brought under the newest key, values that were already, and those no key opens."""

    renewed: int = 0
    kept: int = 0
    broken: list[str] = field(default_factory=list)


def holds_sealed(*columns: str) -> Callable[[type[M]], type[M]]:
    """Mark a model's columns as sealed text, so that `reseal` finds them; empty ones hold nothing."""

    def mark(model: type[M]) -> type[M]:
        _sealed_columns[model] = columns
        return model

    return mark


def seal(text: str) -> str:
    """The text, encrypted under the newest key; 100 to 200 characters for an OAuth secret."""
    return _boxes(_keys()).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed under any key that is still named; raises BrokenSealError."""
    try:
        return _boxes(_keys()).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise BrokenSealError("The text was sealed under a key that is no longer named.") from error


def reseal() -> Resealed:
    """Encrypt every sealed value anew under the newest key; repeating it changes nothing more."""
    found = Resealed()
    for model, columns in _sealed_columns.items():
        for ids in _in_pieces(model):
            with transaction.atomic():
                # Held: a token that is refreshed meanwhile must not be overwritten with what it was.
                for row in model._default_manager.select_for_update().filter(pk__in=ids):
                    _reseal_row(row, columns, found)
    return found


def _in_pieces(model: type[models.Model]) -> Iterator[list[Any]]:
    last = 0
    while ids := list(
        model._default_manager.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_ROWS_AT_ONCE]
    ):
        yield ids
        last = ids[-1]


def _reseal_row(row: models.Model, columns: tuple[str, ...], found: Resealed) -> None:
    changed = []
    for column in columns:
        sealed = getattr(row, column)
        if not sealed:
            continue
        if _opens(_boxes(_keys()[:1]), sealed):
            found.kept += 1
        elif _opens(_boxes(_keys()), sealed):
            setattr(row, column, seal(unseal(sealed)))
            changed.append(column)
        else:
            found.broken.append(f"{row._meta.label} {row.pk} {column}")
    if changed:
        row.save(update_fields=changed)
        found.renewed += len(changed)


def _opens(boxes: MultiFernet, sealed: str) -> bool:
    try:
        boxes.decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def _keys() -> tuple[str, ...]:
    """The newest key first; SECRET_KEY, under which everything was sealed before there was another, always last."""
    newest = settings.SEALING_KEY or settings.SECRET_KEY
    return tuple(dict.fromkeys((newest, *settings.SEALING_KEY_FALLBACKS, settings.SECRET_KEY)))


@lru_cache(maxsize=8)
def _boxes(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([_box(key) for key in keys])


def _box(text: str) -> Fernet:
    # The purpose's name is older than its use for other secrets; changing it would break every seal.
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"oauth").derive(text.encode())
    return Fernet(base64.urlsafe_b64encode(key))
