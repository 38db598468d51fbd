"""Settings, each read once from the environment (or `VAR_DIR/services.env`) with a safe default.

The README's table names every variable; a test keeps the two in step.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).absolute()
# The supervisor writes where its embedded services listen, so that any other terminal's manage.py finds them.
if (VAR_DIR / "services.env").exists():
    environ.Env.read_env(str(VAR_DIR / "services.env"), overwrite=False)


def _made_once(path: Path) -> str:
    """The installation's secret, made on first use and readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def _origin(url: str) -> str:
    """The scheme and host of an address, as Content-Security-Policy wants them."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


def redis_database(url: str) -> str:
    """The number of the Redis database that a URL names."""
    address = urlsplit(url)
    named = "" if address.scheme == "unix" else address.path.strip("/")
    return parse_qs(address.query).get("db", [named])[0] or "0"


# --- the installation ---------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="") or _made_once(VAR_DIR / "secret_key")
# What is kept encrypted is sealed under SEALING_KEY, and opens under the others too; without one SECRET_KEY seals.
SEALING_KEY = env.str("SEALING_KEY", default="")
SEALING_KEY_FALLBACKS = env.list("SEALING_KEY_FALLBACKS", default=[])
if any(len(key) < 32 for key in (SEALING_KEY, *SEALING_KEY_FALLBACKS) if key):
    raise ImproperlyConfigured("SEALING_KEY, SEALING_KEY_FALLBACKS: a key needs at least 32 random characters.")
# People are hashed with PEOPLE_KEY, or without one with SECRET_KEY; a new key begins a new epoch (ingest.people).
PEOPLE_KEY = env.str("PEOPLE_KEY", default="")
if PEOPLE_KEY and len(PEOPLE_KEY) < 32:
    raise ImproperlyConfigured("PEOPLE_KEY: a key needs at least 32 random characters.")
DEBUG = False
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PORT = env.int("PORT", default=8000)
# Behind an HTTPS proxy that sets X-Forwarded-Proto: secure cookies, HSTS and https origins.
TRUSTED_PROXY = env.bool("TRUSTED_PROXY", default=False)
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://localhost:{PORT}")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if TRUSTED_PROXY else []

# --- data ---------------------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db("DATABASE_URL", default="postgresql://localhost/insightstrack")
}
# Web processes run each request in a thread of its own, so connections are pooled instead of kept by thread.
_pool_size = env.int("DATABASE_POOL", default=0)
if _pool_size:
    _pool = {"min_size": 1, "max_size": _pool_size, "timeout": 5}
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = _pool
# A connection that a restart of the database has broken is replaced, not handed to a request.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="redis://localhost:6379/0")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # Without the explicit None, redis-py 8 closes an idle subscription after five seconds.
            "hosts": [{"address": REDIS_URL, "socket_timeout": None}],
            "capacity": 1000,
            # What is published in one database of a Redis is heard in all.
            "prefix": f"asgi{redis_database(REDIS_URL)}",
        },
    }
}

# --- ingest and aggregation ---------------------------------------------------------------------------------
SHARDS = env.int("SHARDS", default=2)
BATCH_EVENTS = env.int("BATCH_EVENTS", default=10_000)
BACKLOG_LIMIT = env.int("BACKLOG_LIMIT", default=3_000_000)
TOKEN_REQUESTS_PER_SECOND = env.int("TOKEN_REQUESTS_PER_SECOND", default=20_000)
REJECTIONS_KEPT = env.int("REJECTIONS_KEPT", default=10_000)
EVENT_DAYS = env.int("EVENT_DAYS", default=35)
MINUTE_DAYS = env.int("MINUTE_DAYS", default=35)
LIVE_INTERVAL_MS = env.int("LIVE_INTERVAL_MS", default=200)
STREAM_CONNECTIONS_PER_TOKEN = env.int("STREAM_CONNECTIONS_PER_TOKEN", default=20)
STREAM_BUFFER_BYTES = env.int("STREAM_BUFFER_BYTES", default=8_000_000)
ENGAGEMENT_REQUESTS_PER_MINUTE = env.int("ENGAGEMENT_REQUESTS_PER_MINUTE", default=600)

# --- X ------------------------------------------------------------------------------------------------------
# The app under which this installation is known to X, from its developer portal.
X_CLIENT_ID = env.str("X_CLIENT_ID", default="")
X_CLIENT_SECRET = env.str("X_CLIENT_SECRET", default="")
X_CONSUMER_SECRET = env.str("X_CONSUMER_SECRET", default="")
X_API_URL = env.str("X_API_URL", default="https://api.x.com").rstrip("/")
X_AUTHORISE_URL = env.str("X_AUTHORISE_URL", default="https://x.com/i/oauth2/authorize")

# --- Bluesky ------------------------------------------------------------------------------------------------
BLUESKY_APPVIEW_URL = env.str("BLUESKY_APPVIEW_URL", default="https://public.api.bsky.app").rstrip("/")

# --- Celery -------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = (
    REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    if REDIS_URL.startswith("unix://")
    else REDIS_URL
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A worker takes a task only when it has a process for it: another machine's idle one would otherwise wait in vain.
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_TASK_ROUTES = {
    "metrics.tasks.consume": {"queue": "consumers"},
    "metrics.tasks.sketch": {"queue": "consumers"},
    "metrics.tasks.run_source": {"queue": "sources"},
    # Minutes long: the beat must not wait behind them.
    "metrics.tasks.import_file": {"queue": "imports"},
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_keepalive": True, "visibility_timeout": 600}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "writers": {"task": "metrics.tasks.beat", "schedule": 3.0, "options": {"expires": 10}},
    "sources": {"task": "metrics.tasks.start_sources", "schedule": 2.0, "options": {"expires": 10}},
    "imports": {"task": "metrics.tasks.start_imports", "schedule": 3.0, "options": {"expires": 10}},
    "webhooks": {"task": "metrics.tasks.do_webhook_chores", "schedule": 2.0, "options": {"expires": 10}},
    "retention": {"task": "metrics.tasks.retention", "schedule": 3600.0, "options": {"expires": 3600}},
}

# --- applications -------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "insightstrack_site.apps.SiteStaticFilesConfig",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "axes",
    "csp",
    "django_htmx",
    "ninja",
    "accounts",
    "metrics",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "insightstrack_site.urls"
ASGI_APPLICATION = "insightstrack_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "insightstrack_site.staticfiles.PlotlyFinder",
]
STATIC_ROOT = VAR_DIR / "static"
# Pages name only hashed files; the others need no compressed twins.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "insightstrack_site.staticfiles.ModuleManifestStorage"},
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# --- people -------------------------------------------------------------------------------------------------
INSTALLED_APPS += ["allauth.usersessions"]
AUTH_USER_MODEL = "accounts.User"
# allauth's backend includes Django's; naming both would hash every wrong password twice.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "handles"
ACCOUNT_ADAPTER = "accounts.adapter.InvitationOnlyAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ALLAUTH_TRUSTED_PROXY_COUNT = int(TRUSTED_PROXY)
# Addresses come from invitations; a code may be typed one 30-second step late.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "InsightsTrack"
MFA_TOTP_TOLERANCE = 1
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", default=8)
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "login"
AXES_USERNAME_CALLABLE = "accounts.adapter.attempted_email"
AXES_CLIENT_IP_CALLABLE = "accounts.adapter.client_ip"
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# Only to link the account of a handle, see metrics.present.x_sign_in; its tokens are sealed and kept with the source.
SOCIALACCOUNT_ADAPTER = "metrics.present.x_sign_in.AccountLinker"
SOCIALACCOUNT_STORE_TOKENS = False
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
# Without EMAIL_URL nothing is mailed, and the sign-in page offers no password reset.
CAN_MAIL = bool(env.str("EMAIL_URL", default=""))
vars().update(env.email_url("EMAIL_URL", default="dummymail://"))
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", default="InsightsTrack <insightstrack@localhost>")

# --- safety -------------------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        # plotly.js positions its labels with style attributes; scripts stay strict.
        "style-src": [SELF, "'unsafe-inline'"],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        # The form that begins "Connect with X" is led on to X, which browsers count as its action.
        "form-action": [SELF, *([_origin(X_AUTHORISE_URL)] if X_CLIENT_ID else [])],
        "frame-ancestors": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
if TRUSTED_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000

# --- logs ---------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processor": "structlog.dev.ConsoleRenderer",
        }
    },
    "filters": {"without_secrets": {"()": "insightstrack_site.logs.WithoutSecrets"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["without_secrets"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "celery": {"level": "INFO"},
        "daphne": {"level": "WARNING"},
        # It would log every call of every poller.
        "httpx": {"level": "WARNING"},
    },
}
