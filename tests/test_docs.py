"""The README and the changelog, held against the code: what they name exists, and what exists is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import resolve

from insightstrack_site.asgi import doors
from metrics.ingest.files.columns import CONTENT, TAIL
from metrics.ingest.files.problems import ROW_REASONS
from metrics.ingest.validation import REASONS
from metrics.vocabulary.engagements import METRICS, NAMES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
OURS = ("insightstrack_site", "accounts", "metrics")
# How each kind of file reads its environment.
SETTING = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"')
VARIABLE = re.compile(r'(?:environ(?:\.get\(|\[)|getenv\(|_number\()"([A-Z_]+)"')
MAKE_VARIABLE = re.compile(r"^([A-Z_]+) \?=|\$\$([A-Z_]+)\b|\$\((ARGS)\)", re.MULTILINE)
OF_DJANGO = {"DJANGO_SETTINGS_MODULE"}


def section(title: str) -> str:
    """The text under a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no section {title}"
    return found[2]


def named_rows(text: str) -> set[str]:
    """What the first column of a table names in code style."""
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def variables_read() -> set[str]:
    """Every environment variable that the code, the Makefile or the tests' set-up reads."""
    names = set(SETTING.findall((ROOT / "insightstrack_site" / "settings.py").read_text()))
    sources = [ROOT / "manage.py", ROOT / "tests" / "conftest.py"]
    sources += [path for package in OURS for path in (ROOT / package).rglob("*.py")]
    for path in sources:
        names |= set(VARIABLE.findall(path.read_text()))
    names |= {name for match in MAKE_VARIABLE.findall(MAKEFILE) for name in match if name}
    return names - OF_DJANGO


def commands() -> set[str]:
    """Our management commands."""
    paths = (path for package in OURS for path in (ROOT / package / "management" / "commands").glob("[a-z]*.py"))
    return {path.stem for path in paths}


def test_it_lists_every_setting_and_no_other() -> None:
    assert named_rows(section("Settings")) == variables_read()


def test_it_tells_every_settings_default() -> None:
    code = (ROOT / "insightstrack_site" / "settings.py").read_text()
    numbers = re.findall(r'env\.int\(\s*"([A-Z_]+)", default=([\d_]+)', code)
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| `(\d+)`", section("Settings"), re.MULTILINE))
    assert numbers
    assert told | {name: number.replace("_", "") for name, number in numbers} == told


def test_it_names_every_command_and_no_other() -> None:
    assert set(re.findall(r"manage\.py ([a-z_]+)", README)) == commands()


def test_it_lists_every_reason_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", section("Send it events"), re.MULTILINE))
    assert {reason: rows.get(reason) for reason in REASONS} == REASONS


def test_it_lists_every_reason_of_a_row_with_its_meaning() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", section("Bring your files"), re.MULTILINE)
    assert dict(rows) == {str(reason): told for reason, told in ROW_REASONS.items()}


def test_it_tells_what_each_column_of_a_file_counts_as() -> None:
    rows = re.findall(r"^\| (“[^|]+”) \| (`(\w+)`|nothing[^|]*) \|$", section("Bring your files"), re.MULTILINE)
    told = {name: kind for names, _, kind in rows for name in re.findall(r"“([^”]+)”", names)}
    assert told == {column.name: column.type for column in (*TAIL, *CONTENT) if column.is_number}


def test_it_names_every_engagement_type_in_order() -> None:
    told = re.search(r"The 26 types, in storage order: (.+)\.$", README, re.MULTILINE)
    assert told is not None
    assert tuple(re.findall(r"`(\w+)`", told[1])) == NAMES
    assert "insightstrack_engagements" in METRICS


def test_it_tells_what_counts_as_an_engagement_and_where() -> None:
    rows = re.findall(
        r"^\| (`[^|]+`) \| (yes|no) \| (yes|no) \|", section("What counts as an engagement, and where"), re.MULTILINE
    )
    told = {
        name: (ours == "yes", streams == "yes")
        for types, ours, streams in rows
        for name in re.findall(r"`(\w+)`", types)
    }
    ours, streams = METRICS["engagements"].plus, METRICS["insightstrack_engagements"].plus
    assert told == {name: (name in ours, name in streams) for name in NAMES}


def test_it_names_only_targets_that_make_knows() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named
    assert named <= targets


def test_it_maps_every_room() -> None:
    mapped = set(re.findall(r"\]\((metrics/[^)]+)\)", section("The map")))
    rooms = {f"metrics/{path.parent.name}" for path in (ROOT / "metrics").glob("*/__init__.py")}
    files = {f"metrics/{path.name}" for path in (ROOT / "metrics").glob("*.py")}
    assert rooms <= mapped
    assert files - {"metrics/__init__.py", "metrics/apps.py"} <= mapped
    for package in OURS:
        assert f"]({package}" in section("The map")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_it_names_addresses_that_are_answered(method: str) -> None:
    told = re.findall(r"`(?:(GET|PUT|POST) )?(/[^`?]*[^`/?]/?)`", README)
    assert told
    for verb, address in told:
        if (verb or "GET") != method or address == "/ws/live/":
            continue
        path = address.replace("NAME", "northwind").replace("ID", "20").replace("{receipt}", "r")
        if not any(door.serves(path) for door in doors):
            resolve(path)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_it_links_only_to_what_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        assert not path or (ROOT / path).exists(), target
        assert not anchor or f"# {anchor.replace('-', ' ')}" in text.lower(), target
