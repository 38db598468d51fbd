"""What the supervisor shows: its own lines, and the warnings and errors in its children's logs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

LARGEST_LOG = 20_000_000  # bytes; then it becomes NAME.log.1 and starts again
_ALARMING = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL|PANIC|Error|Exception)\b|\[(warning|error|critical)\s*\]")
# What a good start looks like: hints about the host from Redis, and what PostgreSQL answers those who ask too early.
_EXPECTED = re.compile(r"overcommit|Transparent Huge Pages|TCP backlog|the database system is starting up")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class _Followed:
    name: str
    path: Path
    position: int

    def fresh_lines(self) -> list[str]:
        """Whole lines written since the last look."""
        if not self.path.exists() or (size := self.path.stat().st_size) == self.position:
            return []
        if size < self.position:
            self.position = 0
        with self.path.open("rb") as file:
            file.seek(self.position)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self.position += len(text)
        if self.position > LARGEST_LOG:
            self._turn_over()
        return text.decode(errors="replace").splitlines()

    def _turn_over(self) -> None:
        # The writer keeps its file open and appends: so copy and empty instead of renaming.
        shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
        os.truncate(self.path, 0)
        self.position = 0


class Console:
    """Prints plain lines; follows log files without threads."""

    def __init__(self) -> None:
        self._followed: list[_Followed] = []

    def say(self, text: str = "") -> None:
        """Print one line of the supervisor's own; a console that went away is no reason to stop."""
        try:
            print(text, flush=True)  # noqa: T201  this is the console
        except OSError:
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of the process

    def follow(self, name: str, path: Path) -> None:
        """Show the alarming lines that are added to this log from now on."""
        if all(followed.path != path for followed in self._followed):
            self._followed.append(_Followed(name, path, path.stat().st_size if path.exists() else 0))

    def show_news(self) -> None:
        """Print what is alarming in the lines that came since the last call."""
        for followed in self._followed:
            for line in (_COLOURS.sub("", coloured) for coloured in followed.fresh_lines()):
                if _ALARMING.search(line) and not _EXPECTED.search(line):
                    self.say(f"{followed.name}: {line.strip()[:400]}")


def last_lines(path: Path, count: int = 15) -> list[str]:
    """The end of a log file, for a message that must explain a failure."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        return file.read().decode(errors="replace").splitlines()[-count:]
