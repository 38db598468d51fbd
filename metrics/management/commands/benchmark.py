"""`manage.py benchmark`: measure a running installation through its front door."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from metrics.benchmarks import (
    accuracy,
    crew,
    engagement,
    files,
    jetstream,
    measures,
    queries,
    reach,
    streaming,
    webhook,
)
from metrics.benchmarks.installation import BenchmarkError, Installation, machine
from metrics.demo.progress import Meter

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

Measure = Callable[[Installation, float, measures.Meters], dict[str, Any]]
# Each with its default length in seconds.
MEASURES: dict[str, tuple[Measure, float]] = {
    "ingest": (measures.ingest, 60.0),
    "single": (measures.single, 30.0),
    "latency": (measures.latency, 20.0),
    "fanout": (measures.fanout, 20.0),
    "stream": (streaming.stream, 20.0),
    "jetstream": (jetstream.jetstream, 15.0),
    "files": (files.files, 10.0),
    "webhook": (webhook.webhook, 20.0),
    "reach": (reach.cost, 10.0),
}


class Command(BaseCommand):
    """Brings its own team, user, handles and token, and takes them away again with all their events."""

    help = "Measure the running `make run`, through its front door."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure, for how long, and where."""
        parser.add_argument("what", choices=[*MEASURES, "query", "engagement", "accuracy"])
        parser.add_argument("--json", action="store_true", help="one JSON object on one line")
        parser.add_argument("--seconds", type=float, help="how long to send (latency: at each rate)")
        parser.add_argument("--url", help="where it runs; default: the `make run` of this folder")
        parser.add_argument(
            "--events",
            type=int,
            nargs="+",
            default=[10_000_000, 50_000_000],
            help="query, engagement: how many events to have behind the rollups (engagement: the last number)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit status 1 when nothing runs there or the load breaks down."""
        if options["what"] == "accuracy":  # of sketches alone: nothing need run
            found = {"benchmark": "accuracy", **accuracy.accuracy(self._meter), **machine()}
            self.stdout.write(json.dumps(found, indent=None if options["json"] else 2))
            return
        try:
            installation = Installation.find(options["url"])
            found = self._measure(installation, **options)
        except (BenchmarkError, BrokenPipeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(found, indent=None if options["json"] else 2))

    def _measure(self, installation: Installation, what: str, **options: Any) -> dict[str, Any]:
        on = machine()
        before, load_before = installation.cpu_seconds(), crew.cpu_seconds()
        if what == "query":
            found = queries.query(self._meter, options["events"])
        elif what == "engagement":
            found = engagement.engagement(installation, options["events"][-1], self._meter)
        else:
            measure, seconds = MEASURES[what]
            found = measure(installation, options["seconds"] or seconds, self._meter)
        after = installation.cpu_seconds()
        used = {name: round(max(0.0, seconds - before.get(name, 0.0)), 2) for name, seconds in sorted(after.items())}
        used["load"] = round(crew.cpu_seconds() - load_before, 2)
        return {"benchmark": what, **found, "cpu_seconds": used, **on}

    def _meter(self, label: str, unit: str, total: float) -> Meter:
        return Meter(self.stderr, label, unit, total)
