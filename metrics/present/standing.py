"""What the database says about open streams, in five queries for all of them.

Tokens, reach, rules, new Tweets, and how far the followed handles have come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q
from django.utils import timezone

from accounts.models import ApiToken, Handle
from metrics.models import StreamRule, Tweet
from metrics.present.feeds import Rule
from metrics.present.readers import Reader
from metrics.query import following


@dataclass(frozen=True, slots=True)
class Standing:
    """What each live token reaches, the rules by team and label and by handle, and Tweets that became known.

    `sequences` tells how far each followed handle's figures have come.
    """

    reach: dict[int, set[int]]
    rules: dict[tuple[int, str], dict[int, Rule]]
    tweets: Sequence[Tweet]
    sequences: dict[int, int]

    def rules_of(self, reader: Reader) -> dict[int, Rule]:
        """The rules of the reader's stream, by handle."""
        return self.rules.get((reader.team_id, reader.label), {})


def read(readers: Sequence[Reader], tweets_since: datetime) -> Standing:
    """Read it for these readers."""
    reach = _reach({reader.token_id for reader in readers})
    rules = _rules({(reader.team_id, reader.label) for reader in readers})
    followed = {handle_id for of_label in rules.values() for handle_id in of_label}
    tweets = Tweet.objects.filter(handle_id__in=followed, changed_at__gt=tweets_since).select_related("handle")
    return Standing(reach, rules, list(tweets.order_by("changed_at", "pk")), following.sequences(list(followed)))


def _reach(token_ids: Iterable[int]) -> dict[int, set[int]]:
    """The handles of each token that is live and may read; a handle that moved to another team has left it."""
    now = timezone.now()
    tokens = ApiToken.objects.filter(pk__in=list(token_ids))
    reach: dict[int, set[int]] = {token.pk: set() for token in tokens if token.is_live(now) and "read" in token.scopes}
    covered = Handle.objects.filter(tokens__in=list(reach), tokens__team=F("team"))
    for handle_id, token_id in covered.values_list("pk", "tokens"):
        if token_id in reach:
            reach[token_id].add(handle_id)
    return reach


def _rules(labels: Iterable[tuple[int, str]]) -> dict[tuple[int, str], dict[int, Rule]]:
    match = Q(pk=None)
    for team_id, label in labels:
        match |= Q(team_id=team_id, label=label)
    found: dict[tuple[int, str], dict[int, Rule]] = {}
    for rule in StreamRule.objects.filter(match):
        mine = found.setdefault((rule.team_id, rule.label), {})
        mine[rule.handle_id] = Rule(rule.pk, rule.handle_id, rule.created_at)
    return found
