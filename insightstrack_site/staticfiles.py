"""Static files under hashed names, compressed, with ES-module imports rewritten to those names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import plotly
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it has no types
    """Whitenoise's storage, taught that our scripts import one another."""

    support_js_module_import_aggregation = True


class PlotlyFinder(BaseFinder):
    """Finds `plotly/plotly.min.js` in plotly's own package, so that nothing is vendored."""

    names = ("plotly.min.js",)

    def __init__(self, app_names: object = None) -> None:
        del app_names
        self.storage = FileSystemStorage(location=Path(plotly.__file__).parent / "package_data")
        # What collectstatic puts before the names.
        self.storage.prefix = "plotly"  # type: ignore[attr-defined]  # read by collectstatic only

    # Not spelt out as the stubs' two overloads.
    def find(self, path: str, find_all: bool = False, **_kwargs: object) -> str | list[str]:  # type: ignore[override]
        """The file on disk, or []; a list of one when all are asked for."""
        folder, _, name = path.partition("/")
        if folder != "plotly" or name not in self.names:
            return []
        found = self.storage.path(name)
        return [found] if find_all else found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        """Each name with its storage."""
        del ignore_patterns
        for name in self.names:
            yield name, self.storage
