"""The application's registration with Django."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts: who may see and send what."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
