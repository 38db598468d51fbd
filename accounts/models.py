"""Users, teams, handles and tokens. `Handle.objects.visible_to(user)` is the one gate to everything else."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractUser, AnonymousUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.http import Http404
from django.utils import timezone
from django.utils.functional import cached_property

from accounts.sealing import holds_sealed, unseal

if TYPE_CHECKING:
    from datetime import datetime


class UserManager(BaseUserManager["User"]):
    """Makes users that sign in with their e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A new user; without a password nobody can sign in as them."""
        if not email:
            raise ValueError("email: a user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A new user with every right in Django admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """The user with this e-mail address, whatever its case."""
        return self.get(email__iexact=username)


class User(AbstractUser):
    """A person; the e-mail address is the login."""

    username = None  # type: ignore[assignment]  # Django's documented way to drop the field
    email = models.EmailField("e-mail address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()  # type: ignore[assignment,misc]  # narrower than AbstractUser's manager by design

    class Meta(AbstractUser.Meta):
        constraints = [models.UniqueConstraint(Lower("email"), name="one_user_an_email")]

    @property
    def initials(self) -> str:
        """One or two letters for the avatar."""
        names = [self.first_name, self.last_name] if self.first_name else self.email.split("@")[0].split(".")
        return "".join(name[0] for name in names if name)[:2].upper()


class Team(models.Model):
    """The people who share handles."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    members = models.ManyToManyField(User, through="Membership", related_name="teams")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member may do: owners manage people, editors manage handles and tokens, viewers look."""

    OWNER = "owner", "Owner"
    EDITOR = "editor", "Editor"
    VIEWER = "viewer", "Viewer"


class Membership(models.Model):
    """One person's role in one team."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "team"], name="one_membership_a_team")]

    def __str__(self) -> str:
        return f"{self.user} · {self.team} · {self.role}"

    @property
    def can_edit(self) -> bool:
        """Whether the member may manage handles and tokens."""
        return self.role in {Role.OWNER, Role.EDITOR}


class Platform(models.TextChoices):
    """Where a handle lives."""

    X = "x", "X"
    BLUESKY = "bluesky", "Bluesky"


def validate_time_zone(value: str) -> None:
    """Refuse a name that is not in the time zone database."""
    if value not in zoneinfo.available_timezones():
        raise ValidationError(f"time_zone: “{value}” is not a time zone; use a name such as Europe/Copenhagen.")


class HandleQuerySet(models.QuerySet["Handle"]):
    """Handles, narrowed to what somebody may see."""

    def visible_to(self, user: User | AnonymousUser) -> HandleQuerySet:
        """The handles of the user's teams; none for strangers; staff rights open no dashboards."""
        if not user.is_authenticated:
            return self.none()
        return self.filter(team__memberships__user=user)

    def visible_or_404(self, user: User | AnonymousUser, username: str) -> Handle:
        """The visible handle of this name; the same 404 whether it is unknown or somebody else's."""
        # PostgreSQL holds no text with a NUL, and refuses to be asked for one.
        named = self.none() if "\x00" in username else self.filter(username__iexact=username)
        handle = named.visible_to(user).select_related("team").first()
        if handle is None:
            raise Http404("No such handle.")
        return handle


class Handle(models.Model):
    """An @handle whose Tweets are measured."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="handles")
    username = models.CharField(
        max_length=64,
        validators=[RegexValidator(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", "Use letters, digits, _ . or -, without the @.")],
    )
    platform = models.CharField(max_length=10, choices=Platform.choices, default=Platform.X)
    display_name = models.CharField(max_length=120)
    colour = models.CharField(
        max_length=7,
        default="#0b6e69",
        validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Use a colour like #0b6e69.")],
    )
    time_zone = models.CharField(max_length=60, default="UTC", validators=[validate_time_zone])
    # Since when its own account on the platform has vouched for it; empty when nothing does.
    authenticated_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = HandleQuerySet.as_manager()

    class Meta:
        ordering = ["display_name", "id"]
        constraints = [models.UniqueConstraint(Lower("username"), name="one_handle_a_username")]

    def __str__(self) -> str:
        return f"@{self.username}"

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The handle's time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)


class Scope(models.TextChoices):
    """What a token may do."""

    INGEST = "ingest", "Send events and Tweets"
    READ = "read", "Read figures"


class ApiToken(models.Model):
    """A machine's key to some handles: only its digest is kept, the secret is shown once."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    handles = models.ManyToManyField(Handle, related_name="tokens")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def is_live(self, now: datetime) -> bool:
        """Whether the token opens doors at this instant."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@holds_sealed("consumer_secret", "access_secret")
class OAuthCredentials(models.Model):
    """A token's second key, for clients that sign with OAuth 1.0a; it lives, reaches and ends with the token.

    A signature cannot be checked against a digest, so the two secrets are kept, sealed.
    """

    token = models.OneToOneField(ApiToken, on_delete=models.CASCADE, related_name="oauth")
    consumer_key = models.CharField(max_length=100, unique=True, editable=False)
    consumer_secret = models.CharField(max_length=400, editable=False)
    access_token = models.CharField(max_length=100, unique=True, editable=False)
    access_secret = models.CharField(max_length=400, editable=False)

    class Meta:
        verbose_name_plural = "OAuth credentials"

    def __str__(self) -> str:
        return f"{self.token} · OAuth 1.0a"

    @cached_property
    def keys(self) -> dict[str, str]:
        """The four values as a client needs them; raises BrokenSealError."""
        return {
            "consumer_key": self.consumer_key,
            "consumer_secret": unseal(self.consumer_secret),
            "access_token": self.access_token,
            "access_token_secret": unseal(self.access_secret),
        }


class Invitation(models.Model):
    """A link that lets one person join a team; only its digest is kept."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.email} → {self.team}"
