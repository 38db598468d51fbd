"""SQL files of several statements: each begins with a line `-- name: …`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from metrics.vocabulary.engagements import NAMES

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COLUMNS = {"names": "{0}", "bigints": "{0} bigint", "totals": "sum({0})::bigint AS {0}"}


@cache
def named(file: str) -> dict[str, str]:
    """The statements of a file beside this one, by name; {names} and the like are the 26 engagement types."""
    text = Path(__file__).with_name(file).read_text()
    for slot, shape in _COLUMNS.items():
        text = text.replace(f"{{{slot}}}", ", ".join(map(shape.format, NAMES)))
    _, *parts = _NAME.split(text)
    return {name: statement.strip().removesuffix(";") for name, statement in zip(parts[::2], parts[1::2], strict=True)}
