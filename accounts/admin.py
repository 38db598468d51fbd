"""Accounts in Django admin. Secrets are never shown: tokens are made on their page or by `create_token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.decorators import secure_admin_login
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.utils import timezone

from accounts.models import ApiToken, Handle, Invitation, Membership, Team, User

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

# Admin signs in through the one sign-in page, so that two-factor and lock-out hold here too.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # allauth's documented recipe
# allauth's own tables stay empty: an app's secret and an account's tokens would lie open in them.
admin.site.unregister((SocialAccount, SocialApp, SocialToken))
admin.site.site_header = admin.site.site_title = "InsightsTrack admin"


class EmailUserCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A new user, named by e-mail address."""

    class Meta:
        model = User
        fields = ("email",)

    def clean_email(self) -> str:
        """Addresses are kept in lower case."""
        return str(self.cleaned_data["email"]).lower()


class EmailUserChangeForm(UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A user's facts; the address stays in lower case."""

    class Meta:
        model = User
        fields = "__all__"

    def clean_email(self) -> str:
        """Addresses are kept in lower case."""
        return str(self.cleaned_data["email"]).lower()


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # generic in the stubs only
    """Who belongs where."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user", "team")


@admin.register(User)
class EmailUserAdmin(UserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Users, by e-mail address."""

    form = EmailUserChangeForm
    add_form = EmailUserCreationForm
    ordering = ("email",)
    list_display = ("email", "first_name", "last_name", "is_active", "is_staff", "last_login")
    search_fields = ("email", "first_name", "last_name")
    readonly_fields = ("last_login", "date_joined")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("email", "password", "first_name", "last_name")}),
        (
            "Rights in admin",
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        ("Facts", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Teams with their members."""

    list_display = ("name", "slug", "created_at")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("created_at",)
    inlines = (MembershipInline,)


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Roles."""

    list_display = ("user", "team", "role")
    list_filter = ("role",)
    list_select_related = ("user", "team")
    search_fields = ("user__email", "team__name")
    autocomplete_fields = ("user", "team")


@admin.register(Handle)
class HandleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Handles."""

    list_display = ("username", "display_name", "platform", "team", "time_zone", "authenticated_at", "created_at")
    list_filter = ("platform", ("authenticated_at", admin.EmptyFieldListFilter))
    list_select_related = ("team",)
    search_fields = ("username", "display_name", "team__name")
    autocomplete_fields = ("team",)
    readonly_fields = ("authenticated_at", "created_at")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Tokens: facts to read, and one action, to revoke. Neither secret nor digest nor OAuth key is shown."""

    list_display = ("name", "prefix", "team", "scopes", "has_oauth", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("team", "oauth")
    list_filter = (("oauth", admin.EmptyFieldListFilter),)
    search_fields = ("name", "prefix", "team__name", "handles__username")
    exclude = ("digest",)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: a token made here could not be shown."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        """Everything: what a token may do does not change after it was given out."""
        return (
            *("team", "name", "prefix", "scopes", "has_oauth", "handles", "created_by", "created_at"),
            *("expires_at", "last_used_at", "revoked_at"),
        )

    @admin.display(boolean=True, description="OAuth 1.0a")
    def has_oauth(self, token: ApiToken) -> bool:
        """Whether OAuth credentials were made with it."""
        return hasattr(token, "oauth")

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Close the tokens now; those already revoked keep their instant."""
        revoked = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{revoked} revoked; they stop working within five seconds.")


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Invitations: facts to read, and to delete. The link is shown only to whoever made it."""

    list_display = ("email", "team", "role", "invited_by", "expires_at", "accepted_at")
    list_select_related = ("team", "invited_by")
    search_fields = ("email", "team__name")
    exclude = ("digest",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: an invitation made here would have no link."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        """Never: facts."""
        return False
