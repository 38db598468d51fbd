"""The first visit to an empty installation: whoever holds the setup code becomes its owner.

The code is derived from SECRET_KEY: nothing is stored, and all its machines print the same one.
It opens only while there is no user, so it works once.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.text import slugify

from accounts.models import Membership, Role, Team, User

if TYPE_CHECKING:
    from accounts.forms import SetupForm


class AlreadySetUpError(Exception):
    """The installation has users."""


def is_empty_installation() -> bool:
    """Whether nobody has an account yet."""
    return not User.objects.exists()


def setup_code() -> str:
    """The code that the console prints: six groups of four letters and digits, 120 bits."""
    digest = salted_hmac("accounts.setup", "code", algorithm="sha256").digest()
    letters = base64.b32encode(digest[:15]).decode()
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def is_setup_code(given: str) -> bool:
    """Whether somebody typed the code, whatever its case, dashes and spaces."""
    return constant_time_compare(_bare(given), _bare(setup_code()))


def _bare(code: str) -> str:
    return "".join(code.split()).replace("-", "").upper()


@transaction.atomic
def found(form: SetupForm) -> User:
    """Make the owner, who may use Django admin too, the team and the handle; AlreadySetUpError when late."""
    # Any row that every migrated database has will do to let only one founder in at a time.
    ContentType.objects.select_for_update().get(app_label="accounts", model="user")
    if not is_empty_installation():
        raise AlreadySetUpError
    owner: User = form.save(commit=False)
    owner.is_staff = owner.is_superuser = True
    owner.save()
    name = form.cleaned_data["team_name"]
    team = Team.objects.create(name=name, slug=slugify(name)[:60] or "team")
    Membership.objects.create(user=owner, team=team, role=Role.OWNER)
    handle = form.handle_form.save(commit=False)
    handle.team = team
    handle.save()
    return owner
