"""Static files under hashed names, compressed, with ES-module imports rewritten to those names."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it has no types
    """Whitenoise's storage, taught that our scripts import one another."""

    support_js_module_import_aggregation = True
