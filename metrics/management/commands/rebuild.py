"""`manage.py rebuild --handle NAME [--reach]`: rollups, or people's sketches, computed again from events."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Handle
from metrics.aggregate import history, reach_history


class Command(BaseCommand):
    """Recompute what one handle's events add up to; its shard's writer waits meanwhile and goes on afterwards."""

    help = "Recompute a handle's rollups, or its people, from the events that are still held."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which handle, and what of it."""
        parser.add_argument("--handle", required=True, help="the handle's username")
        parser.add_argument("--reach", action="store_true", help="the sketches of its people instead of its rollups")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rebuild and say how much was written."""
        name = options["handle"].removeprefix("@")
        handle = Handle.objects.filter(username__iexact=name).first()
        if handle is None:
            raise CommandError(f"--handle: there is no @{name}.")
        if options["reach"]:
            sketches = reach_history.rebuild(handle.pk)
            self.stdout.write(f"@{handle.username}: {sketches:,} sketches of people are kept now.")
            return
        minutes = history.rebuild(handle.pk)
        self.stdout.write(f"@{handle.username}: rebuilt from {minutes:,} Tweet minutes.")
