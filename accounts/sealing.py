"""Secrets that must be read again, kept encrypted: whoever has a copy of the database alone learns nothing."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class BrokenSealError(ValueError):
    """The text was sealed under another SECRET_KEY, or is not sealed text at all."""


def seal(text: str) -> str:
    """The text, encrypted under a key that comes from SECRET_KEY; 100 to 200 characters for an OAuth secret."""
    return _box(settings.SECRET_KEY).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed; raises BrokenSealError."""
    try:
        return _box(settings.SECRET_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise BrokenSealError("The text was sealed under another SECRET_KEY.") from error


@lru_cache(maxsize=4)
def _box(secret_key: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"oauth").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(key))
