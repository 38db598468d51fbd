"""A stream that follows several handles: only what is this handle's is taken."""

from __future__ import annotations

import pytest

from metrics.models import Source, SourceState, Tweet
from tests.ingest.connectors.taking import becomes, ignores, taken, takes
from tests.ingest.connectors.upstream import NOW, TWEET, Upstream, a_revoke, a_summary, a_tweet
from tests.ingest.scripted import Worked

pytestmark = pytest.mark.django_db(transaction=True)


class TestAStreamOfSeveralHandles:
    """Only what is known to be the handle's own is taken."""

    @pytest.fixture(autouse=True)
    def own_only(self, streamed: Source) -> None:
        streamed.settings["tweets"] = "own"
        streamed.save()

    def test_it_takes_what_was_told_to_be_its_handles(self, streamed: Source, upstream: Upstream) -> None:
        with Worked(streamed):
            upstream.is_read()
            upstream.say(a_tweet(), a_tweet("acme", TWEET + 1), a_summary(), a_summary(tweet_id=TWEET + 1))
            assert takes(streamed, 1)[0]["tweet"] == TWEET
            ignores(streamed, tweet_of_another_handle=1, summary_of_another_handle=1)

    def test_it_takes_what_is_known_as_its_handles(self, streamed: Source, upstream: Upstream) -> None:
        Tweet.objects.create(handle=streamed.handle, tweet_id=TWEET, created_at=NOW)
        with Worked(streamed):
            upstream.is_read()
            upstream.say(a_summary(tweet_id=TWEET + 1), a_summary())
            assert takes(streamed, 1)[0]["tweet"] == TWEET

    def test_it_waits_until_it_is_told_whose_a_tweet_is(self, streamed: Source, upstream: Upstream) -> None:
        with Worked(streamed):
            upstream.is_read()
            upstream.say(a_summary(favorites=8))
            ignores(streamed, summary_of_an_unknown_Tweet=1)
            assert taken(streamed) == []
            upstream.say(a_tweet())
            assert takes(streamed, 1)[0]["favorites"] == 8

    def test_it_heeds_only_its_own_users_revoke(self, streamed: Source, upstream: Upstream) -> None:
        with Worked(streamed) as worked:
            upstream.is_read()
            upstream.say(a_revoke("77"))
            ignores(streamed, revoke_of_another_user=1)
            upstream.say(a_tweet())
            upstream.say(a_revoke("78"))
            ignores(streamed, revoke_of_another_user=2)
            assert not worked.is_over
            upstream.say(a_revoke("77"))
            becomes(streamed, SourceState.DISCONNECTED)
