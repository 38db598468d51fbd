"""The forms of the settings pages."""

from __future__ import annotations

import zoneinfo
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.utils import timezone

from accounts.models import Handle, Invitation, Role, Scope, User
from accounts.setup import is_setup_code

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.models import Team


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A person's name."""

    class Meta:
        model = User
        fields = ("first_name", "last_name")
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
        }


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Whom to invite, as what."""

    class Meta:
        model = Invitation
        fields = ("email", "role")
        labels = {"email": "E-mail address"}
        widgets = {"email": forms.EmailInput(attrs={"autocomplete": "off"})}


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(choices=Role.choices)


class TokenForm(forms.Form):
    """What a new token is for, what it may do, and how long."""

    LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("never", "Until it is revoked"))

    name = forms.CharField(max_length=120, help_text="What will use it, such as “CRM export”.")
    scopes = forms.MultipleChoiceField(label="May", choices=Scope.choices, widget=forms.CheckboxSelectMultiple)
    handles = forms.ModelMultipleChoiceField(
        label="For", queryset=Handle.objects.none(), widget=forms.CheckboxSelectMultiple
    )
    expires = forms.ChoiceField(label="Works for", choices=LIFETIMES, initial="365")
    oauth = forms.BooleanField(
        label="Also make OAuth 1.0a credentials",
        required=False,
        help_text="For Engagement API clients that sign their requests. They reach and end with the token.",
    )

    def __init__(self, team: Team, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        handles = self.fields["handles"]
        assert isinstance(handles, forms.ModelMultipleChoiceField)  # noqa: S101  # tells the type checker
        handles.queryset = team.handles.all()

    def clean(self) -> dict[str, Any]:
        """OAuth credentials only read, so their token must."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("oauth") and Scope.READ not in cleaned.get("scopes", [Scope.READ]):
            self.add_error("oauth", "OAuth credentials only read: allow “Read figures” above.")
        return cleaned

    @property
    def expires_at(self) -> datetime | None:
        """When the token ends; None when it stays until revoked."""
        days = self.cleaned_data["expires"]
        return None if days == "never" else timezone.now() + timedelta(days=int(days))


class HandleForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A handle. Senders and saved addresses use its username, so that is settled when it is made."""

    time_zone = forms.ChoiceField(
        initial="UTC",
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(zoneinfo.available_timezones())],
        help_text="A day on the dashboard runs from midnight to midnight here.",
    )

    class Meta:
        model = Handle
        fields = ("username", "display_name", "platform", "time_zone", "colour")
        help_texts = {"username": "Without the @."}
        error_messages = {"username": {"max_length": "A username has at most 64 characters."}}
        widgets = {
            "username": forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
            "colour": forms.TextInput(attrs={"type": "color"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["username"].disabled = self.fields["platform"].disabled = True

    def clean_username(self) -> str:
        """The bare username, free on this installation."""
        username = str(self.cleaned_data["username"])
        if Handle.objects.filter(username__iexact=username).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("This username cannot be used: it is measured here already.")
        return username


class JoinForm(BaseUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    """The account of an invited person; the address is the invitation's."""

    class Meta:
        model = User
        fields = ("first_name", "last_name")
        widgets = ProfileForm.Meta.widgets


class SetupForm(BaseUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    """The first account, team and handle."""

    code = forms.CharField(
        label="Setup code",
        max_length=60,
        help_text="It was printed on the console; manage.py setup_code prints it again.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autofocus": True}),
    )
    team_name = forms.CharField(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    field_order = ("code", "email", "password1", "password2", "team_name")

    class Meta:
        model = User
        fields = ("email",)
        widgets = {"email": forms.EmailInput(attrs={"autocomplete": "username"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["email"].widget.attrs["autofocus"]
        self.handle_form = HandleForm(*args, **kwargs)

    def clean_code(self) -> str:
        """The code itself, or an error that does not say how far off the guess was."""
        code = str(self.cleaned_data["code"])
        if not is_setup_code(code):
            raise forms.ValidationError("This is not the setup code.")
        return code

    def clean_email(self) -> str:
        """Addresses are kept in lower case."""
        return str(self.cleaned_data["email"]).lower()

    def is_valid(self) -> bool:
        """Whether both the account and the handle are fine; both show their errors."""
        handle_is_valid = self.handle_form.is_valid()
        return super().is_valid() and handle_is_valid
