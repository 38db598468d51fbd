"""`manage.py rebuild --handle NAME`: rollups computed again from events."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Handle
from metrics.aggregate import history


class Command(BaseCommand):
    """Recompute one handle's rollups; live ingest of its shard waits meanwhile and goes on afterwards."""

    help = "Recompute a handle's rollups from the events that are still held."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which handle."""
        parser.add_argument("--handle", required=True, help="the handle's username")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rebuild and say how much was written."""
        name = options["handle"].removeprefix("@")
        handle = Handle.objects.filter(username__iexact=name).first()
        if handle is None:
            raise CommandError(f"--handle: there is no @{name}.")
        minutes = history.rebuild(handle.pk)
        self.stdout.write(f"@{handle.username}: rebuilt from {minutes:,} Tweet minutes.")
