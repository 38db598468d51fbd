"""What the shapes of all JSON answers are made of: optional texts, names, times and periods."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

Text = str | SkipJsonSchema[None]
WHEN = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$"
NAME = r"^@?[A-Za-z0-9_][A-Za-z0-9_.-]*$"


def text_param(description: str, example: str, **schema: Any) -> Any:
    """An optional text parameter. Its values are checked by `metrics.query`, whose refusals say what to give."""

    def shown(made: dict[str, Any]) -> None:
        made.pop("default", None)
        made.update(schema, examples=[example])

    return Field(default=None, description=description, json_schema_extra=shown)


class PeriodOut(Schema):
    """A stretch of time [since, until)."""

    since: datetime
    until: datetime
