"""Django admin: facts to look at, people, imported files, sources to hold, and the Operations page."""

from metrics.admin.facts import operations
from metrics.admin.imports import FileImportAdmin
from metrics.admin.reach import PersonEpochAdmin
from metrics.admin.sources import SourceAdmin

__all__ = ["FileImportAdmin", "PersonEpochAdmin", "SourceAdmin", "operations"]
