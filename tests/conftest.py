"""Real PostgreSQL and Redis for every process that runs tests; where is known before Django reads its settings.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` name servers to use instead of private ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import django
import pytest

from insightstrack_site import embedded
from tests.parallel import (
    own_redis,
    pytest_collection_modifyitems,
    pytest_configure_node,
    pytest_xdist_make_scheduler,
    pytest_xdist_setupnodes,
    runs_tests,
)

# Speed: what a test session writes may be lost with the machine. The fault tests run servers with fsync on.
QUICK_POSTGRES = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}

_running = ExitStack()
_services: list[embedded.Service] = []


def _choose_services() -> None:
    var_dir = Path(tempfile.mkdtemp(prefix="insightstrack-test-"))
    _running.callback(shutil.rmtree, var_dir, ignore_errors=True)
    os.environ["VAR_DIR"] = str(var_dir)
    os.environ["SECRET_KEY"] = "a secret key for tests"
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or _private(
        embedded.Postgres(var_dir, QUICK_POSTGRES)
    )
    given = os.environ.get("TEST_REDIS_URL")
    os.environ["REDIS_URL"] = own_redis(given) if given else _private(embedded.Redis(var_dir, {"appendfsync": "no"}))


def _private(service: embedded.Service) -> str:
    _services.append(service)
    return service.url


def pytest_sessionstart(session: pytest.Session) -> None:
    if runs_tests(session.config):
        for service in _services:
            _running.callback(service.stop)
            service.start()


def pytest_unconfigure() -> None:
    _running.close()


# At import: pytest reads this file before those in the folders below, and they import models.
_choose_services()
os.environ["DJANGO_SETTINGS_MODULE"] = "insightstrack_site.settings"
django.setup()

from tests import static_files
from tests.cast import (  # models can be imported only now
    acme,
    alice,
    bob,
    charlie,
    ingest_token,
    northwind,
    read_token,
    token,
)
from tests.replayed import cascades, cascades_dir, reader, replayed
from tests.stack import live_stack

static_files.provide()

__all__ = [
    "acme",
    "alice",
    "bob",
    "cascades",
    "cascades_dir",
    "charlie",
    "ingest_token",
    "live_stack",
    "northwind",
    "pytest_collection_modifyitems",
    "pytest_configure_node",
    "pytest_xdist_make_scheduler",
    "pytest_xdist_setupnodes",
    "read_token",
    "reader",
    "replayed",
    "token",
]
