"""The 26 engagement types, their families, and the metrics derived from them.

A *counts vector* is an integer array whose last axis has one number for each of `TYPES`, in that order: that order is
the storage order too (the `type` code of an event is its index here), so it is append-only.
With promotion the shape is (2, 26): row 0 organic, row 1 promoted.
Source: the vendor's table of engagement types.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

ORGANIC, PROMOTED = 0, 1


class Family(StrEnum):
    """How charts group the types; the order is the stacking order."""

    SOCIAL = "social"
    CLICKS = "clicks"
    APPS = "apps"
    VIDEO = "video"


FAMILY_LABELS = {
    Family.SOCIAL: "Social",
    Family.CLICKS: "Clicks",
    Family.APPS: "Follows & apps",
    Family.VIDEO: "Video",
}


@dataclass(frozen=True, slots=True)
class EngagementType:
    """One row of the vendor's table: its API name, what people call it, and which type it takes back."""

    name: str
    label: str
    definition: str
    family: Family | None
    promotable: bool = False
    undoes: str | None = None

    @property
    def is_engagement(self) -> bool:
        """Whether the Engagement API's headline `engagements` includes it."""
        return self.family not in {None, Family.VIDEO} and self.undoes is None


def _social(name: str, label: str, definition: str, promotable: bool, undoes: str | None = None) -> EngagementType:
    return EngagementType(name, label, definition, Family.SOCIAL, promotable, undoes)


def _plain(family: Family, name: str, label: str, definition: str) -> EngagementType:
    return EngagementType(name, label, definition, family)


TYPES: tuple[EngagementType, ...] = (
    EngagementType("impressions", "Impressions", "Times the Tweet was shown.", None),
    _social("favorites", "Likes", "Likes given.", True),
    _social("replies", "Replies", "Replies written.", True),
    _social("retweets", "Retweets", "Retweets made.", True),
    _social("quote_tweets", "Quotes", "Retweets with a comment.", False),
    _social("unfavorites", "Unlikes", "Likes taken back.", True, "favorites"),
    _social("unreplies", "Replies deleted", "Replies deleted by their authors.", True, "replies"),
    _social("unretweets", "Retweets undone", "Retweets taken back.", False, "retweets"),
    _social("unquote_tweets", "Quotes deleted", "Quotes deleted by their authors.", False, "quote_tweets"),
    _plain(Family.CLICKS, "url_clicks", "Link clicks", "Clicks on a URL in the Tweet."),
    _plain(Family.CLICKS, "hashtag_clicks", "Hashtag clicks", "Clicks on a hashtag in the Tweet."),
    _plain(Family.CLICKS, "detail_expands", "Detail expands", "Clicks that opened the Tweet's details."),
    _plain(Family.CLICKS, "permalink_clicks", "Permalink clicks", "Clicks on the Tweet's timestamp."),
    _plain(Family.CLICKS, "media_clicks", "Media clicks", "Clicks on a photo, GIF or video."),
    _plain(Family.APPS, "app_install_attempts", "App installs", "Clicks on Install in an App card."),
    _plain(Family.APPS, "app_opens", "App opens", "Clicks on Open in an App card."),
    _plain(Family.APPS, "email_tweet", "E-mailed", "Clicks on Email Tweet."),
    _plain(Family.APPS, "user_follows", "Follows", "Follows of the author from this Tweet."),
    _plain(Family.CLICKS, "user_profile_clicks", "Profile clicks", "Clicks on the author's profile."),
    _plain(Family.VIDEO, "video_starts", "Video starts", "Videos started, by autoplay or by a tap."),
    _plain(Family.VIDEO, "video_views", "Video views", "Videos fully in view and watched for at least 3 seconds."),
    _plain(Family.VIDEO, "video_viewed_25", "25 % viewed", "Videos of which a quarter was viewed."),
    _plain(Family.VIDEO, "video_viewed_50", "50 % viewed", "Videos of which half was viewed."),
    _plain(Family.VIDEO, "video_viewed_75", "75 % viewed", "Videos of which three quarters were viewed."),
    _plain(Family.VIDEO, "video_viewed_95", "95 % viewed", "Videos of which 95 % was viewed."),
    _plain(Family.VIDEO, "video_viewed_100", "100 % viewed", "Videos viewed to the end."),
)
N_TYPES = len(TYPES)
NAMES: tuple[str, ...] = tuple(kind.name for kind in TYPES)
CODE: dict[str, int] = {name: code for code, name in enumerate(NAMES)}
UNDO_OF: dict[str, str] = {kind.undoes: kind.name for kind in TYPES if kind.undoes}
FUNNEL: tuple[str, ...] = tuple(kind.name for kind in TYPES if kind.family is Family.VIDEO)


@dataclass(frozen=True)  # without slots: the weights are kept once made
class Metric:
    """A weighted sum of the 26 types, with the words that a page shows for it."""

    name: str
    label: str
    definition: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()

    @cached_property
    def weights(self) -> Counts:
        """int64[26]: +1, -1 or 0 for each type."""
        weights = np.zeros(N_TYPES, dtype=np.int64)
        weights[[CODE[name] for name in self.plus]] = 1
        weights[[CODE[name] for name in self.minus]] = -1
        return weights

    def of(self, counts: Counts) -> Counts:
        """The metric of each counts vector: (..., 26) → (...)."""
        return np.asarray(counts @ self.weights, dtype=np.int64)


def _net(name: str, label: str, gain: str) -> Metric:
    return Metric(name, label, f"{label}: given minus taken back.", (gain,), (UNDO_OF[gain],))


def _single(kind: EngagementType) -> Metric:
    return Metric(kind.name, kind.label, kind.definition, (kind.name,))


def _family(family: Family) -> Metric:
    names = tuple(kind.name for kind in TYPES if kind.family is family and kind.undoes is None)
    return Metric(family.value, FAMILY_LABELS[family], f"All engagements of the family {FAMILY_LABELS[family]}.", names)


_DERIVED = (
    Metric(
        "engagements",
        "Engagements",
        "Every interaction with a Tweet: likes, replies, Retweets, quotes, clicks, follows and app actions. "
        "Passive video views and undone actions are not counted.",
        tuple(kind.name for kind in TYPES if kind.is_engagement),
    ),
    Metric(
        "insightstrack_engagements",
        "Engagements with video",
        "Every type that is neither an impression nor an undo: the InsightsTrack stream's total.",
        tuple(kind.name for kind in TYPES if kind.name != "impressions" and kind.undoes is None),
    ),
    _net("favorites_net", "Likes, net", "favorites"),
    _net("replies_net", "Replies, net", "replies"),
    _net("retweets_net", "Retweets, net", "retweets"),
    _net("quote_tweets_net", "Quotes, net", "quote_tweets"),
    *(_family(family) for family in Family),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*map(_single, TYPES), *_DERIVED)}

ENGAGEMENT_RATE_DEFINITION = "Engagements divided by impressions."


def engagement_rate(counts: Counts) -> float | None:
    """Engagements / impressions of one counts vector int64[26], or None where nothing was shown."""
    impressions = int(METRICS["impressions"].of(counts))
    return int(METRICS["engagements"].of(counts)) / impressions if impressions else None
