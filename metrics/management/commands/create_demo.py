"""`manage.py create_demo`: the demo team, its people, its handles with the source of one, and the feed's token."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts.credentials import issue_token, load_credential
from accounts.models import ApiToken, Handle, Membership, Platform, Role, Scope, Team, User
from metrics.demo.content import BLUESKY_VOICES, VOICES, Voice
from metrics.ingest import sources

# The feed needs so long until its Jetstream listens.
STARTS_WITHIN = timedelta(seconds=10)
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
            handles = [_handle(team, voice) for voice in (*VOICES, *BLUESKY_VOICES)]
            port = _port(var_dir / "demo_jetstream")
            for voice, handle in zip(BLUESKY_VOICES, handles[len(VOICES) :], strict=True):
                _source(handle, voice, port)
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


def _handle(team: Team, voice: Voice) -> Handle:
    handle = Handle.objects.filter(username__iexact=voice.username).first()
    if handle is None:
        return Handle.objects.create(
            team=team,
            username=voice.username,
            platform=Platform.BLUESKY if voice.did else Platform.X,
            display_name=voice.display_name,
            colour=voice.colour,
            time_zone=voice.time_zone,
        )
    if handle.team_id != team.pk:
        raise CommandError(f"@{voice.username} belongs to another team; start with DEMO=0.")
    return handle


def _port(path: Path) -> int:
    """The port of the demo's Jetstream on this machine: the last time's, unless somebody else has it by now."""
    with suppress(FileNotFoundError, ValueError, OSError):
        port = int(path.read_text("ascii"))
        socket.create_server(("127.0.0.1", port)).close()
        return port
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    keep_secret(path, str(port))
    return port


def _source(handle: Handle, voice: Voice, port: int) -> None:
    """Connect the handle to the demo's Jetstream; a new source begins now, so that it misses nothing."""
    source = sources.known(handle, "jetstream", "Bluesky")
    source.settings = {"account": voice.did, "url": f"ws://127.0.0.1:{port}/subscribe"}
    if not source.cursor:
        source.cursor = {"account": voice.did, "did": voice.did, "time_us": time.time_ns() // 1000, "delivery": 0}
    source.due_at = timezone.now() + STARTS_WITHIN
    source.save(update_fields=["settings", "cursor", "due_at"])


def _token(team: Team, handles: list[Handle], owner: User, path: Path) -> None:
    """Keep the feed's token beside the data, unless the one that is there still works; it is for every handle."""
    if path.exists() and (known := load_credential(path.read_text("ascii").strip())):
        ApiToken.objects.get(pk=known.token_id).handles.add(*handles)
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
