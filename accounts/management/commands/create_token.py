"""`manage.py create_token`: a new API token, its secret alone on stdout (with `--oauth`, one JSON object)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.credentials import issue_token
from accounts.models import Handle, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Makes a token for handles of one team and prints its secret, which is shown this once."""

    help = "Make an API token and print its secret, once, alone on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which handles, what for, and for how long."""
        parser.add_argument("--handle", action="append", required=True, metavar="NAME", dest="handles")
        parser.add_argument("--scope", action="append", required=True, choices=Scope.values, dest="scopes")
        parser.add_argument("--name", default="Made on the command line", help="what the token is for")
        parser.add_argument("--expires-days", type=int, metavar="N", help="default: it does not expire")
        parser.add_argument(
            "--oauth", action="store_true", help="make OAuth 1.0a credentials too, and print all as one JSON object"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the token; one line on stderr and exit status 1 when a handle is unknown."""
        handles = _named(options["handles"])
        if len({handle.team_id for handle in handles}) > 1:
            raise CommandError("--handle: all handles of a token must belong to one team.")
        days = options["expires_days"]
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError("--expires-days: give a whole number of days from 1 to 36500.")
        if options["oauth"] and Scope.READ not in options["scopes"]:
            raise CommandError("--oauth: OAuth credentials only read, so add --scope read.")
        token, secret = issue_token(
            handles[0].team,
            options["name"],
            options["scopes"],
            handles,
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            oauth=options["oauth"],
        )
        self.stdout.write(json.dumps({"token": secret, **token.oauth.keys}) if options["oauth"] else secret)


def _named(usernames: Iterable[str]) -> list[Handle]:
    """The handles of these names, each once; CommandError for the first that does not exist."""
    handles = {}
    for username in usernames:
        bare = username.removeprefix("@")
        handle = Handle.objects.select_related("team").filter(username__iexact=bare).first()
        if handle is None:
            raise CommandError(f"--handle: there is no handle “{bare}”.")
        handles[handle.pk] = handle
    return list(handles.values())
