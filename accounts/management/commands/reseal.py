"""`manage.py reseal`: everything that is kept encrypted, brought under the newest SEALING_KEY."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.sealing import reseal


class Command(BaseCommand):
    """Says how many values it encrypted anew; running it again changes nothing more."""

    help = "Encrypt every sealed secret anew under the newest SEALING_KEY."

    def handle(self, *args: Any, **options: Any) -> None:
        """Encrypt anew; exit status 1, naming the rows, when a value opens with no key that is named."""
        found = reseal()
        self.stdout.write(f"{found.renewed} encrypted anew, {found.kept} under the newest key already.")
        if found.broken:
            raise CommandError(
                f"{len(found.broken)} cannot be opened with any key that SEALING_KEY, SEALING_KEY_FALLBACKS or "
                f"SECRET_KEY names; add the key they were sealed under: {', '.join(found.broken[:20])}."
            )
