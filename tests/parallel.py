"""How `make test` shares the tests out among processes (pytest-xdist).

Every process has PostgreSQL and Redis of its own (`tests/conftest.py`). A module's tests stay together, because they
share what the module's fixtures made. Tests that use the running installation form two groups, each of which stays in
one process, so that no more than two installations run at once; they wait more than they work, so they begin first,
and the other processes fill the time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class ByGroup(LoadScopeScheduling):
    """Groups stay together, and so do the other tests of each module."""

    groups: dict[str, str]

    def schedule(self) -> None:
        self.groups = json.loads(_groups_file().read_text())
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid, nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup | None:
    return ByGroup(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_xdist_setupnodes() -> None:
    """Processes that know the settings from the start would read them before they have services of their own."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_configure_node(node: WorkerController) -> None:
    # Only node ids come back to the process that shares the tests out, so it is told of groups by a file.
    node.workerinput["groups_file"] = str(_groups_file())


def _groups_file() -> Path:
    return Path(os.environ["VAR_DIR"]) / "test_groups.json"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """In a process of several, let the groups begin, and tell which tests they are."""
    yield
    given = getattr(config, "workerinput", None)
    if given is not None:
        groups = {item.nodeid: group for item in items if (group := _group(item))}
        items.sort(key=lambda item: item.nodeid not in groups)
        file = Path(given["groups_file"])
        draft = file.with_suffix(f".{given['workerid']}")
        draft.write_text(json.dumps(groups))
        draft.replace(file)


def _group(item: pytest.Item) -> str | None:
    """Tests that use the running installation: those that break it, and those that look at it."""
    if "live_stack" not in getattr(item, "fixturenames", ()):
        return None
    return "faults" if "faults" in item.path.parts else "looks"


def runs_tests(config: pytest.Config) -> bool:
    """Whether this process runs tests itself, and does not only share them out."""
    return hasattr(config, "workerinput") or not config.getoption("tx")


def own_redis(url: str) -> str:
    """The database of a given Redis that this process may empty: that of the URL, or one of those after it."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if url.startswith("unix:"):
        address, _, query = url.partition("?")
        given = dict(parse_qsl(query))
        return f"{address}?{urlencode(given | {'db': int(given.get('db', 0)) + number})}"
    parts = urlsplit(url)
    return parts._replace(path=f"/{int(parts.path.strip('/') or 0) + number}").geturl()
