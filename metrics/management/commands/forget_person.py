"""`manage.py forget_person --user-id ID`: a person is removed from what this installation holds."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import reach_history
from metrics.ingest import people, rejections
from metrics.models import PersonEpoch
from metrics.stream import Group

TRUTH = """\
What this could not do:
- Totals of days whose events had been dropped before still hold what the person did then, as a number without a name.
- A sketch that has met more than 4,096 people keeps hashes of some of them only. Where it kept this person's, that is
  gone now; where it did not, there was nothing to remove, and its estimate still stands for a crowd that the person was
  part of. The edge of such a sketch is one person's hash, and may happen to be this one.
- Backups, exported files and what other systems were sent are not reached from here."""


class Command(BaseCommand):
    """Removes the person's events that are held, with what they added to totals, and their hash from every sketch."""

    help = "Remove a person's events that are still held, and their hash from every sketch of people."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who."""
        parser.add_argument("--user-id", required=True, help="the person, as senders name them in user_id")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Forget, then say truthfully what was removed and what could not be."""
        person = people.person_of(options["user_id"])
        if not person:
            raise CommandError("--user-id: is empty; give the id as senders write it in user_id.")
        epoch = people.epoch()
        forgotten = reach_history.forget(person, epoch)
        refused = rejections.forget(person, epoch)
        names = [f"@{handle.username}" for handle in Handle.objects.filter(pk__in=forgotten.handles)]
        of = f" of {', '.join(sorted(names))}" if names else ""
        self.stdout.write(f"Removed: {forgotten.events:,} events{of}, whose totals were computed again.")
        self.stdout.write(f"Removed from {forgotten.sketches:,} sketches of people, and {refused:,} refused events.")
        self._warn(epoch)
        self.stdout.write(TRUTH)

    def _warn(self, epoch: int) -> None:
        waiting = sum(stream.backlog(shard, group) for shard in stream.shards() for group in Group)
        if waiting:
            self.stdout.write(f"{waiting:,} accepted events wait to be counted: run this again when none does.")
        others = PersonEpoch.objects.exclude(number=epoch).count()
        if others:
            self.stdout.write(
                f"People were hashed with {others:,} other keys in the past: run this once with PEOPLE_KEY set to each,"
                " as only the key finds a person again."
            )
