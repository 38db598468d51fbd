"""The collected static files of a test session, kept between sessions while their sources stay the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from django.conf import settings

from insightstrack_site import prepare


def provide() -> None:
    """Put the hashed, compressed files where pages and servers of this session look for them."""
    kept = settings.BASE_DIR / ".pytest_cache" / f"static-{prepare.fingerprint()[:16]}"
    if not kept.exists():
        prepare.collect_static()
        _keep(Path(settings.STATIC_ROOT), kept)
    shutil.rmtree(settings.STATIC_ROOT, ignore_errors=True)
    Path(settings.STATIC_ROOT).symlink_to(kept)


def _keep(made: Path, kept: Path) -> None:
    """Rename into place, so that a session beside this one sees all of it or nothing."""
    kept.parent.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=kept.parent, prefix="static-draft-"))
    shutil.copytree(made, draft, dirs_exist_ok=True)
    try:
        draft.rename(kept)
    except OSError:  # the other session was first, with the same files
        shutil.rmtree(draft)
