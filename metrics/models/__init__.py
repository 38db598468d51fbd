"""The tables: `facts` (what happened, what it adds up to), `sources` (where it comes from), `imports`, `polling`,
`reach` (who it were)."""

from metrics.models.facts import (
    DroppedDay,
    EngagementEvent,
    HandleFeed,
    HandleRollup,
    InferredCount,
    LastSnapshot,
    Media,
    Rejection,
    Rollup,
    SetAsideEntry,
    StreamCursor,
    StreamRule,
    Tweet,
    TweetRollup,
)
from metrics.models.imports import AccountDay, FileImport, ImportPiece, ImportProblem, ImportState
from metrics.models.polling import MetricBlocks, PolledTweet
from metrics.models.reach import OF_HANDLE, Audience, PersonEpoch, ReachSketch, ReportedReach
from metrics.models.sources import Outage, RememberedRecord, Source, SourceDay, SourceNote, SourceState

__all__ = [
    "OF_HANDLE",
    "AccountDay",
    "Audience",
    "DroppedDay",
    "EngagementEvent",
    "FileImport",
    "HandleFeed",
    "HandleRollup",
    "ImportPiece",
    "ImportProblem",
    "ImportState",
    "InferredCount",
    "LastSnapshot",
    "Media",
    "MetricBlocks",
    "Outage",
    "PersonEpoch",
    "PolledTweet",
    "ReachSketch",
    "Rejection",
    "RememberedRecord",
    "ReportedReach",
    "Rollup",
    "SetAsideEntry",
    "Source",
    "SourceDay",
    "SourceNote",
    "SourceState",
    "StreamCursor",
    "StreamRule",
    "Tweet",
    "TweetRollup",
]
