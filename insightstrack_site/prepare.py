"""What must be true before the servers start, in one process: tables, static files, the first people.

    python -m insightstrack_site.prepare [--demo] [--alone]

Progress goes to stderr; stdout carries only what the person at the console must be told at the end (a login
or the one-time setup code), so that no log ever holds it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

_LOCK = 7_241_001  # any number that no other advisory lock here has


def main() -> None:
    """Bring the database and the static files up to this version's state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--demo", action="store_true", help="make the demo team when it has never been made")
    parser.add_argument("--alone", action="store_true", help="no other machine works on this Redis")
    options = parser.parse_args()
    django.setup()
    migrate()
    if options.alone:
        end_leases()
    collect_static()
    if options.demo:
        call_command("create_demo")
    elif not has_people():
        where = settings.PUBLIC_URL.rstrip("/") + reverse("accounts:setup")
        print(f"Nobody can sign in yet: open {where} and enter this code:", flush=True)  # noqa: T201  for the greeting
        call_command("setup_code")


def migrate() -> None:
    """Bring the tables up to date, one machine after the other when several start together."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            call_command("migrate", interactive=False, verbosity=0)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def end_leases() -> None:
    """Free the shards of writers that were killed with the last run, which nobody else can be holding."""
    from metrics import stream

    stream.client().delete(
        *(stream.lease(shard, group).name for shard in range(settings.SHARDS) for group in stream.Group)
    )


def has_people() -> bool:
    """Tell whether anybody can sign in."""
    from django.contrib.auth import get_user_model

    return get_user_model().objects.exists()


def collect_static() -> None:
    """Collect, hash and compress the static files, unless they are what they were the last time."""
    stamp = Path(settings.VAR_DIR) / "static.stamp"
    now = fingerprint()
    if stamp.exists() and stamp.read_text() == now and (settings.STATIC_ROOT / "staticfiles.json").exists():
        return
    print("Collecting static files …", file=sys.stderr, flush=True)  # noqa: T201  progress for the supervisor
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(now)


def fingerprint() -> str:
    """Names, sizes and times of every source file, and of the settings that say what becomes of them."""
    digest = hashlib.sha256(repr(settings.STORAGES).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            state = Path(storage.path(name)).stat()
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
