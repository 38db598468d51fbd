"""How X proves that a delivery is its own, and how we prove to X that an address is ours."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256
from typing import Final

SIGNATURE: Final = b"x-twitter-webhooks-signature"
"""The header, in lower case as ASGI has it."""


def signature(secret: str, content: bytes) -> str:
    """`sha256=` and the base64 HMAC-SHA256 of the content under the app's consumer secret."""
    return "sha256=" + base64.b64encode(hmac.digest(secret.encode(), content, sha256)).decode()


def is_signed(secret: str, content: bytes, given: bytes) -> bool:
    """Whether the header's value is the content's signature, told in a time that does not depend on it."""
    return hmac.compare_digest(given, signature(secret, content).encode())
