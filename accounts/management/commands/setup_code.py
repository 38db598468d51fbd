"""`manage.py setup_code`: the one-time code that makes the first visitor the owner."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.setup import is_empty_installation, setup_code


class Command(BaseCommand):
    """Prints the code alone on stdout, as long as the installation is empty."""

    help = "Print the one-time setup code of an empty installation."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the code; one line on stderr and exit status 1 when somebody has an account already."""
        if not is_empty_installation():
            raise CommandError("This installation is set up: it has users, so there is no setup code.")
        self.stdout.write(setup_code())
