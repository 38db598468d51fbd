"""Connectors: one platform, one file. Each turns what its platform says into deliveries for the intake.

A connector is a subclass of `Connector` in a module of this package; naming the module in `MODULES` registers it. Its
`run` is called by the leased runner of a source (`ingest.runner`), which nobody else holds meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar

from accounts.models import Platform
from metrics.ingest.intake import Delivery, Receipt
from metrics.models import Source

Result = TypeVar("Result")
MODULES: tuple[str, ...] = (
    "x_api",
    "x_webhook",
    "insightstrack",
    "jetstream",
)


class SourceError(Exception):
    """The source cannot go on now: `reason` is one sentence for people; tried again with growing pauses."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LimitedError(SourceError):
    """The platform wants us to wait until an instant."""

    def __init__(self, reason: str, until: datetime) -> None:
        super().__init__(reason)
        self.until = until


class DisconnectedError(SourceError):
    """Access has been withdrawn or is wrong: not tried again until somebody reconnects."""


class SettingsError(ValueError):
    """A setting that cannot be used: `field` names it, `detail` says what to give instead."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail = field, detail


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of the form with which a source is connected; secret ones are kept sealed and never shown again."""

    name: str
    label: str
    help: str = ""
    is_secret: bool = False
    is_required: bool = True
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    """The values that it may have, each with its label; none: any text."""


class Shift(Protocol):
    """What a runner offers a connector; every method may be awaited while the source runs."""

    source: Source

    @property
    def is_over(self) -> bool:
        """Whether the connector should return soon: the shift ends, or somebody paused the source."""

    async def take(self, delivery: Delivery, cursor: dict[str, Any] | None = None) -> Receipt:
        """Store a delivery durably, then the cursor; tries again by itself while Redis or the database is away."""

    async def live(self, lag_ms: int | None = None) -> None:
        """Say that the source is live (or goes on being so), and how far it is behind."""

    async def catching_up(self, reason: str = "") -> None:
        """Say that the source is working through what it has missed."""

    async def heard(self, lag_ms: int | None = None) -> None:
        """Note a sign of life without content, such as a keep-alive; cheap to call often."""

    async def do(self, work: Callable[[], Result]) -> Result:
        """Do what blocks, such as a connector's own database work; tries again while Redis or the database is away."""

    async def note(self, text: str, is_trouble: bool = False) -> None:
        """Write down something that happened, for the source's log."""


class Connector(ABC):
    """One platform's way in."""

    kind: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    platforms: ClassVar[frozenset[str]] = frozenset(Platform.values)
    settings: ClassVar[tuple[Setting, ...]] = ()
    # After this much silence a live source counts as silent; None where silence is normal.
    silent_after_seconds: ClassVar[int | None] = None
    is_run: ClassVar[bool] = True
    """Whether it is run by us; False for those that the platform calls, such as webhooks."""
    connect_url: ClassVar[str | None] = None
    """The name of the page that connects one (it takes the username), where settings are not enough."""

    def checked(self, source: Source, given: dict[str, str]) -> dict[str, str]:
        """The settings to keep, from what the form sent; raises SettingsError."""
        return {setting.name: given.get(setting.name, "").strip() or setting.default for setting in self.settings}

    @abstractmethod
    async def run(self, shift: Shift) -> datetime | None:
        """Work until the shift is over or nothing is left to do; returns when to be run again (None: at once).

        A second after its shift is over it is cancelled where it waits; what `take` has begun is still stored whole.
        Raises SourceError (or a subclass) when the source cannot go on.
        """

    async def test(self, source: Source) -> str:
        """Try the connection without taking anything; one sentence of what was found. Raises SourceError."""
        raise SourceError(f"{self.label} cannot be tested.")

    def outlook(self, source: Source) -> str:
        """How it works at present, as a sentence for people; empty where there is nothing to say."""
        return ""

    def forget(self, source: Source) -> None:  # noqa: B027  # most platforms granted nothing
        """Withdraw what the platform granted; called before the source is removed."""


@cache
def registry() -> dict[str, Connector]:
    """Every connector by its kind."""
    names = [f"{__name__}.{name}" for name in MODULES]
    for name in names:
        import_module(name)
    return {kind.kind: kind() for kind in Connector.__subclasses__() if kind.__module__ in names}
