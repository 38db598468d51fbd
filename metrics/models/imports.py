"""Files on their way in: the upload in pieces, what was found in it, what became of its rows."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models import Handle, User


class ImportState(models.TextChoices):
    """How far a file has come."""

    UPLOADING = "uploading", "uploading"
    READING = "reading", "being read"
    READY = "ready", "ready to import"
    RUNNING = "running", "importing"
    DONE = "done", "imported"
    CANCELLED = "cancelled", "cancelled"
    FAILED = "failed", "cannot be used"


class FileImport(models.Model):
    """One file that somebody imports into a handle.

    `exported_at` is as of when its counts are; `preview` is what is shown before anything is written, `report` what is
    told afterwards (`ingest.files.previews` and `ingest.files.engine` say what is in them). Only `ingest.files.engine`
    moves it past UPLOADING; `fingerprint` tells the same file again, the last four fields who works on it.
    """

    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="imports")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    filename = models.CharField(max_length=255)
    size = models.BigIntegerField(help_text="bytes, as announced")
    received = models.BigIntegerField(default=0, help_text="bytes so far")
    modified_at = models.DateTimeField(null=True, blank=True, help_text="the file's own time stamp")
    exported_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=ImportState.choices, default=ImportState.UPLOADING)
    format = models.CharField(max_length=20, blank=True)
    preview = models.JSONField(default=dict, blank=True)
    rows = models.BigIntegerField(null=True, blank=True, help_text="rows of the file, once they are known")
    read = models.BigIntegerField(default=0)
    imported = models.BigIntegerField(default=0)
    unchanged = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    is_cancel_asked = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    report = models.JSONField(default=dict, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True, editable=False)
    runner = models.CharField(max_length=32, blank=True, editable=False)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.SmallIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["handle", "fingerprint"], name="imports_by_content")]

    def __str__(self) -> str:
        return f"{self.filename} into {self.handle}"


class ImportPiece(models.Model):
    """Some bytes of an uploaded file, where any machine's worker can read them; gone when the import ends."""

    file = models.ForeignKey(FileImport, on_delete=models.CASCADE, related_name="pieces")
    offset = models.BigIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["offset"]
        constraints = [models.UniqueConstraint(fields=["file", "offset"], name="one_piece_an_offset")]

    def __str__(self) -> str:
        return f"{self.file} from {self.offset}"


class ImportProblem(models.Model):
    """One row that was refused or skipped: where, why, and what to do."""

    file = models.ForeignKey(FileImport, on_delete=models.CASCADE, related_name="problems")
    line = models.BigIntegerField()
    field = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=500)

    class Meta:
        ordering = ["line", "id"]

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}"


class AccountDay(models.Model):
    """A day of the whole account as the platform's own dashboard counts it; kept apart, never added to Tweets.

    `counts` maps the platform's metric to its number. The day is a date as the platform wrote it.
    """

    handle = models.ForeignKey(Handle, on_delete=models.CASCADE, related_name="account_days")
    day = models.DateField()
    counts = models.JSONField(default=dict)
    exported_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["handle", "day"], name="one_row_an_account_day")]

    def __str__(self) -> str:
        return f"{self.handle} on {self.day}"
