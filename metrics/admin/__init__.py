"""Django admin: facts to look at, imported files, sources to hold, and the Operations page."""

from metrics.admin.facts import operations
from metrics.admin.imports import FileImportAdmin
from metrics.admin.sources import SourceAdmin

__all__ = ["FileImportAdmin", "SourceAdmin", "operations"]
