"""A Django process beside a running installation, which makes what tests need: starting one each time takes seconds.

    python -m tests.clerk

A line of stdin is a JSON array: what to do, and with what; a line of stdout is the answer. It ends with its stdin.
"""

from __future__ import annotations

import json
import sys

import django


def add_handle(username: str, email: str, password: str, team_name: str, role: str) -> int:
    """Make the handle, its team, and a member who can sign in, where they do not exist; returns the handle's id."""
    from accounts.models import Handle, Membership, Team, User

    team, _ = Team.objects.get_or_create(slug=team_name.lower(), defaults={"name": team_name})
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, password)
    Membership.objects.get_or_create(user=user, team=team, defaults={"role": role})
    handle, _ = Handle.objects.get_or_create(
        username=username, defaults={"team": team, "display_name": username.title()}
    )
    return int(handle.pk)


def token(usernames: list[str], scopes: list[str]) -> str:
    """The secret of a new token for these handles of one team."""
    from accounts.credentials import issue_token
    from accounts.models import Handle

    handles = Handle.objects.filter(username__in=usernames)
    return issue_token(handles[0].team, "Made for a test", scopes, handles)[1]


def connect(username: str, kind: str, name: str, settings: dict[str, str], secrets: dict[str, str]) -> int:
    """Connect a source of the handle; returns its number."""
    from accounts.models import Handle
    from metrics.models import Source

    source = Source(handle=Handle.objects.get(username=username), kind=kind, name=name)
    source.settings, source.secrets = settings, secrets
    source.save()
    return int(source.pk)


TASKS = {"add_handle": add_handle, "connect": connect, "token": token}


def main() -> None:
    """Answer until nobody asks any more."""
    django.setup()
    from django.db import close_old_connections

    for line in sys.stdin:
        wanted, *given = json.loads(line)
        close_old_connections()  # the database may have been away since
        print(json.dumps(TASKS[wanted](*given)), flush=True)  # noqa: T201  the answer


if __name__ == "__main__":
    main()
