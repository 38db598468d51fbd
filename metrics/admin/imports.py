"""Imported files in Django admin: every file with what became of it, its refused rows, and the account's days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from metrics.admin.facts import FactsAdmin
from metrics.models import AccountDay, FileImport, ImportProblem

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


@admin.register(FileImport)
class FileImportAdmin(FactsAdmin):
    """Files, from the first piece to the report; their pieces are no facts and go when the import ends."""

    list_display = (
        "filename",
        "handle",
        "state",
        "format",
        "bytes",
        "rows",
        "imported",
        "unchanged",
        "refused",
        "created_by",
        "created_at",
    )
    list_filter = ("state", "format", "handle__team")
    list_select_related = ("handle", "created_by")
    search_fields = ("filename", "handle__username")
    date_hierarchy = "created_at"
    readonly_fields = ("kept_problems",)

    @admin.display(description="size")
    def bytes(self, file: FileImport) -> str:
        """As people write it."""
        return filesizeformat(file.size)

    @admin.display(description="refused rows that are kept")
    def kept_problems(self, file: FileImport) -> SafeString:
        """How many, with the way to them."""
        address = reverse("admin:metrics_importproblem_changelist")
        return format_html('<a href="{}?file__id__exact={}">{}</a>', address, file.pk, file.problems.count())


@admin.register(ImportProblem)
class ImportProblemAdmin(FactsAdmin):
    """Rows that were not imported, and why."""

    list_display = ("file", "line", "field", "reason", "detail")
    list_filter = ("reason",)
    list_select_related = ("file__handle",)
    search_fields = ("detail", "file__filename")
    ordering = ("-file", "line")


@admin.register(AccountDay)
class AccountDayAdmin(FactsAdmin):
    """Days of whole accounts as the platform counts them; never part of any total."""

    list_display = ("handle", "day", "counts", "exported_at")
    list_filter = ("handle",)
    list_select_related = ("handle",)
    date_hierarchy = "day"
    ordering = ("-day",)
