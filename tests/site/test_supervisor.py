"""The supervisor restarts what dies and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from insightstrack_site import processes
from insightstrack_site.console import Console
from insightstrack_site.supervisor import Program, Supervisor

# A child with a child of its own, both deaf to SIGTERM.
STUBBORN = "trap '' TERM; sh -c \"trap '' TERM; while :; do sleep 30; done\" & while :; do sleep 30; done"
ORPHANED = """
import sys
from pathlib import Path
from insightstrack_site.console import Console
from insightstrack_site.supervisor import Program, Supervisor
supervisor = Supervisor(Console())
child = Program("child", ["sleep", "60"], {}, Path("/"), Path(sys.argv[1]))
supervisor.add(child)
print(child.process.pid, flush=True)
supervisor.run_until(lambda: False)
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    made = Supervisor(Console())
    yield made
    for child in made.children:
        if child.process is not None and child.process.poll() is None:
            processes.signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
    for number, handler in before.items():
        signal.signal(number, handler)


def shell(tmp_path: Path, script: str) -> Program:
    return Program("child", ["sh", "-c", script], dict(os.environ), tmp_path, tmp_path / "child.log")


def test_it_starts_a_dead_child_again(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = shell(tmp_path, "echo started >> starts; sleep 60")
    supervisor.add(child)
    assert child.process is not None
    first = child.process
    first.kill()
    assert supervisor.run_until(lambda: child.process is not first, seconds=10)
    assert "child: ended (signal SIGKILL); starts again in 0.5 s" in capsys.readouterr().out


def test_it_waits_longer_after_each_failure(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.add(shell(tmp_path, "exit 3"))
    assert supervisor.run_until(lambda: supervisor.most_failures()[0] >= 2, seconds=10)
    out = capsys.readouterr().out
    assert "child: ended (exit code 3); starts again in 0.5 s" in out
    assert "child: ended (exit code 3); starts again in 1.0 s" in out


def test_it_ends_the_whole_group_of_a_dead_child(supervisor: Supervisor, tmp_path: Path) -> None:
    child = shell(tmp_path, "sleep 60 & echo $! > grandchild; wait")
    supervisor.add(child)
    noted = tmp_path / "grandchild"
    assert supervisor.run_until(lambda: noted.exists() and noted.read_text().strip() != "", seconds=5)
    grandchild = int(noted.read_text())
    assert child.process is not None
    child.process.kill()
    assert supervisor.run_until(lambda: _is_gone(grandchild), seconds=5)


def test_it_stops_everything_even_what_ignores_it(supervisor: Supervisor, tmp_path: Path) -> None:
    child = shell(tmp_path, STUBBORN)
    supervisor.add(child)
    process = child.process
    assert process is not None
    assert processes.wait_for(lambda: len(psutil.Process(process.pid).children()) >= 2, 5)
    family = psutil.Process(process.pid).children(recursive=True)
    supervisor.stop(grace=0.3)
    assert process.poll() is not None
    assert processes.wait_for(lambda: all(_is_gone(member.pid) for member in family), 5)


def test_it_takes_its_children_along_when_it_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHANED, str(tmp_path / "child.log")], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    assert processes.wait_for(lambda: _is_gone(child), 5)


def test_it_shows_only_alarming_lines_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "web.log"
    log.write_text("ERROR from an earlier run\n")
    console = Console()
    console.follow("web", log)
    with log.open("a") as file:
        file.write("served a page\n\x1b[31mERROR\x1b[0m the disk is full\nWARNING half a li")
    console.show_news()
    with log.open("a") as file:
        file.write("ne\n")
    console.show_news()
    assert capsys.readouterr().out.splitlines() == ["web: ERROR the disk is full", "web: WARNING half a line"]


def test_it_turns_a_long_log_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insightstrack_site.console.LARGEST_LOG", 100)
    log = tmp_path / "web.log"
    console = Console()
    console.follow("web", log)
    log.write_text("x" * 150 + "\n")
    console.show_news()
    assert log.read_text() == ""
    assert (tmp_path / "web.log.1").read_text() == "x" * 150 + "\n"


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
