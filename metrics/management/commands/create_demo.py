"""`manage.py create_demo`: the demo team, its people, its three handles and the feed's token."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.credentials import issue_token, load_credential
from accounts.models import Handle, Membership, Role, Scope, Team, User
from metrics.demo.content import VOICES

OWNER, VIEWER = "demo@insightstrack.example", "viewer@insightstrack.example"


class Command(BaseCommand):
    """Makes what is missing and leaves the rest alone, so it can run at every start."""

    help = "Make the demo team, its people, handles and token where they are missing; print the login."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print `login: …` and `password: …`; the passwords lie in VAR_DIR, readable by its owner alone."""
        var_dir = Path(settings.VAR_DIR)
        with transaction.atomic():
            team, _ = Team.objects.get_or_create(slug="demo", defaults={"name": "InsightsTrack demo"})
            owner = _person(OWNER, "Demo", team, Role.OWNER, var_dir / "demo_password")
            _person(VIEWER, "Viewer", team, Role.VIEWER, var_dir / "demo_viewer_password")
            handles = [_handle(team, number) for number in range(len(VOICES))]
            _token(team, handles, owner, var_dir / "demo_token")
        self.stdout.write(f"login: {OWNER}")
        if (password := var_dir / "demo_password").exists():
            self.stdout.write(f"password: {password.read_text('ascii').strip()}")


def _person(email: str, name: str, team: Team, role: str, password_file: Path) -> User:
    """The user of this e-mail address; a new one gets a password made for this installation."""
    user = User.objects.filter(email=email).first()
    if user is None:
        password = secrets.token_urlsafe(12)
        user = User.objects.create_user(email, password, first_name=name)
        Membership.objects.create(user=user, team=team, role=role)
        keep_secret(password_file, password)
    return user


def _handle(team: Team, number: int) -> Handle:
    voice = VOICES[number]
    handle = Handle.objects.filter(username__iexact=voice.username).first()
    if handle is None:
        return Handle.objects.create(
            team=team,
            username=voice.username,
            display_name=voice.display_name,
            colour=voice.colour,
            time_zone=voice.time_zone,
        )
    if handle.team_id != team.pk:
        raise CommandError(f"@{voice.username} belongs to another team; start with DEMO=0.")
    return handle


def _token(team: Team, handles: list[Handle], owner: User, path: Path) -> None:
    """Keep the feed's token beside the data, unless the one that is there still works."""
    if path.exists() and load_credential(path.read_text("ascii").strip()):
        return
    _, secret = issue_token(team, "Demo feed", [Scope.INGEST, Scope.READ], handles, created_by=owner)
    keep_secret(path, secret)


def keep_secret(path: Path, secret: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
