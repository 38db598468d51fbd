"""PostgreSQL's binary COPY as numpy records: whole batches in and out without a Python object a value.

A row of binary COPY is the number of its columns, then each column's length and bytes. Where every column has a fixed
width, that is a numpy record. Instants are Unix microseconds on our side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.backends.utils import CursorWrapper

from metrics.vocabulary.engagements import N_TYPES, NAMES

Records = npt.NDArray[np.void]

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
# PostgreSQL counts binary timestamps from 2000-01-01.
_EPOCH_US = 946_684_800_000_000
_BIGINT_OID = 20
# Kind → how a value lies on the wire, and on our side.
_SCALARS = {
    "bigint": (">i8", "<i8"),
    "instant": (">i8", "<i8"),
    "integer": (">i4", "<i4"),
    "smallint": (">i2", "<i2"),
    "boolean": ("u1", "u1"),
    "uuid": ("V16", "V16"),
}
_VALUES = np.dtype([("#", ">i4"), ("value", ">i8")])
# A one-dimensional array of bigints: dimensions, whether nulls are in it, element type, length, first index, elements.
_VECTOR = np.dtype([("header", ">i4", (5,)), ("values", _VALUES, (N_TYPES,))])
_VECTOR_HEADER = (1, 0, _BIGINT_OID, N_TYPES, 1)


class Layout:
    """Columns by name and kind: a scalar, a `vector` (bigint[26]) or `types` (a bigint column for each type)."""

    def __init__(self, *columns: tuple[str, str]) -> None:
        self._kinds = columns
        self._number = sum(N_TYPES if kind == "types" else 1 for _, kind in columns)
        wire: list[Any] = [("columns", ">i2")]
        ours: list[Any] = []
        for name, kind in columns:
            if kind == "types":
                wire.append((name, _VALUES, (N_TYPES,)))
            else:
                wire += [(f"{name}#", ">i4"), (name, _VECTOR if kind == "vector" else _SCALARS[kind][0])]
            ours.append((name, *_SCALARS[kind][1:]) if kind in _SCALARS else (name, "<i8", (N_TYPES,)))
        self._wire = np.dtype(wire)
        self.dtype = np.dtype(ours)
        """The records as we hold them."""
        self.names = ", ".join(", ".join(NAMES) if kind == "types" else name for name, kind in columns)
        """The columns as SQL lists them."""

    def to_bytes(self, records: Records) -> bytes:
        """The records as a binary COPY; fields that the layout does not name are passed over."""
        rows = np.empty(len(records), dtype=self._wire)
        rows["columns"] = self._number
        for name, kind in self._kinds:
            if kind == "types":
                rows[name]["#"], rows[name]["value"] = 8, records[name]
                continue
            rows[f"{name}#"] = self._wire[name].itemsize
            if kind == "vector":
                rows[name]["header"] = _VECTOR_HEADER
                rows[name]["values"]["#"], rows[name]["values"]["value"] = 8, records[name]
            else:
                rows[name] = records[name] - _EPOCH_US if kind == "instant" else records[name]
        return _HEADER + rows.tobytes() + _TRAILER

    def from_bytes(self, data: bytes) -> Records:
        """The records of a binary COPY whose columns are these, without nulls."""
        rows = np.frombuffer(data, dtype=self._wire, offset=len(_HEADER), count=self._rows_in(data))
        records = np.empty(len(rows), dtype=self.dtype)
        for name, kind in self._kinds:
            if kind == "types":
                records[name] = rows[name]["value"]
            elif kind == "vector":
                records[name] = rows[name]["values"]["value"]
            else:
                records[name] = rows[name] + _EPOCH_US if kind == "instant" else rows[name]
        return records

    def _rows_in(self, data: bytes) -> int:
        rows, rest = divmod(len(data) - len(_HEADER) - len(_TRAILER), self._wire.itemsize)
        if rest:
            raise ValueError("the columns are not those of the layout, or hold nulls")
        return rows

    def copy_in(self, cursor: CursorWrapper, table: str, records: Records) -> None:
        """Copy the records into a table."""
        with cursor.copy(f"COPY {table} ({self.names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(self.to_bytes(records))

    def copy_out(self, cursor: CursorWrapper, query: str) -> Records:
        """What a query finds; its columns are the layout's, in order, without nulls."""
        with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy:
            return self.from_bytes(b"".join(copy))


def joined(parts: Sequence[Records], dtype: np.dtype[Any]) -> Records:
    """The records of all parts; none where there are none."""
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
