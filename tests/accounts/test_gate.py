"""`Handle.objects.visible_to`: the one gate."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import Http404
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Handle, Membership, Role, Team, User

pytestmark = pytest.mark.django_db


def test_it_shows_a_team_its_own_handles_only(
    alice: User, bob: User, charlie: User, northwind: Handle, acme: Handle
) -> None:
    assert list(Handle.objects.visible_to(alice)) == [northwind]
    assert list(Handle.objects.visible_to(bob)) == [northwind]
    assert list(Handle.objects.visible_to(charlie)) == [acme]
    assert not Handle.objects.visible_to(AnonymousUser()).exists()


def test_it_opens_nothing_to_staff_outside_the_team(northwind: Handle) -> None:
    admin = User.objects.create_superuser("root@example.com", "a phrase for the admin")
    assert not Handle.objects.visible_to(admin).exists()


def test_it_answers_strangers_as_if_the_handle_did_not_exist(alice: User, charlie: User, northwind: Handle) -> None:
    assert Handle.objects.visible_or_404(alice, "NorthWIND") == northwind
    answers = set()
    for user, username in (
        (charlie, "northwind"),
        (charlie, "nobody"),
        (alice, "nobody"),
        (AnonymousUser(), "northwind"),
    ):
        with pytest.raises(Http404) as refusal:
            Handle.objects.visible_or_404(user, username)
        answers.add(str(refusal.value))
    assert len(answers) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    members=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12),
)
def test_it_shows_exactly_the_handles_of_ones_teams(db: None, owners: list[int], members: set[tuple[int, int]]) -> None:
    """`owners`: the team of each handle; `members`: who is in which team."""
    Team.objects.all().delete()
    User.objects.all().delete()
    teams = [Team.objects.create(name=f"Team {n}", slug=f"team-{n}") for n in range(4)]
    users = [User.objects.create(email=f"user{n}@example.com") for n in range(3)]
    for person, team in members:
        Membership.objects.create(user=users[person], team=teams[team], role=Role.VIEWER)
    for number, team in enumerate(owners):
        Handle.objects.create(team=teams[team], username=f"handle{number}", display_name="A handle")
    for person, user in enumerate(users):
        expected = [f"handle{n}" for n, team in enumerate(owners) if (person, team) in members]
        visible = Handle.objects.visible_to(user).values_list("username", flat=True)
        assert sorted(visible) == expected
