"""Django admin: facts to look at, sources to hold, and the Operations page."""

from metrics.admin.facts import operations
from metrics.admin.sources import SourceAdmin

__all__ = ["SourceAdmin", "operations"]
