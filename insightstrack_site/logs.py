"""What may not stand in a log."""

from __future__ import annotations

import logging
import re

# Whoever holds the rest of such an address may use it: Django logs the addresses that it refuses.
_SECRET = re.compile(r"(/settings/invitations/|/accounts/password/reset/key/)[^/\s]+")


class WithoutSecrets(logging.Filter):
    """Takes the secret part of invitation and password links out of what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never refuses a record."""
        if isinstance(record.msg, str) and _SECRET.search(message := record.getMessage()):
            record.msg, record.args = _SECRET.sub(r"\1…", message), ()
        return True
