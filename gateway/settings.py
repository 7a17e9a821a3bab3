"""Settings. Every switch is read from the environment here, once, with its type and default.

What is wrong with a value is said by the system checks (`gateway/checks.py`), all at once and by
name, not by an import error.
"""

import math
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ

from gateway import logs
from gateway.authentication import keyfiles

env = environ.Env()


def as_number(text: str) -> float:
    """Return the number in `text`; what is none becomes NaN, which the checks refuse by name."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def as_count(text: str) -> int:
    """Return the natural number in `text`; what is none becomes -1, which the checks refuse."""
    return int(text) if text.isascii() and text.isdecimal() else -1


def as_switch(text: str) -> bool | None:
    """Return what a switch is set to; None for neither, which the checks refuse by name."""
    words = {True: {"1", "true", "yes", "on"}, False: {"", "0", "false", "no", "off"}}
    return next((value for value, known in words.items() if text.strip().lower() in known), None)


def kept_key(name: str, make: Callable[[], str]) -> str:
    """Return a key of DATA_DIR, which is made once; "" where it cannot be kept, or is missing."""
    path = DATA_DIR / name
    try:
        if IS_ONLY_LOOKING and not path.exists():
            return ""
        return keyfiles.read_or_create(path, make)
    except (OSError, UnicodeError) as error:
        DATA_DIR_PROBLEMS.append(f"{path}: {getattr(error, 'strerror', 'not a text')}")
        return ""


def database_of(url: str) -> dict[str, Any] | None:
    """Return Django's settings of a database; None for a URL that names none."""
    if not url.startswith(("sqlite://", "postgres://", "postgresql://")):
        return None
    try:
        return dict(env.db_url_config(url))
    except ValueError:
        return None


BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things are -----------------------------------------------------------------------------
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
#: What could not be made or read there; the checks tell it.
DATA_DIR_PROBLEMS: list[str] = []
#: `manage.py doctor` looks: what is missing stays missing.
IS_ONLY_LOOKING = Path(sys.argv[0]).name == "manage.py" and sys.argv[1:2] == ["doctor"]
DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
REDIS_URL = env.str("REDIS_URL", default="")

# --- Keys -----------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="") or kept_key("secret_key", keyfiles.make_secret_key)
ENCRYPTION_KEYS: list[str] = env.list("ENCRYPTION_KEYS", default=[]) or [
    key for key in [kept_key("encryption_key", keyfiles.make_fernet_key)] if key
]
AIGW_SELF_SIGNED_JWT__SIGNING_KEY = env.str("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", default="")
AIGW_SELF_SIGNED_JWT__VALIDATION_KEY = env.str("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", default="")
SERVING_CONFIG_SIGNING_KEY = env.str("SERVING_CONFIG_SIGNING_KEY", default="")

# --- A gateway node without a database ------------------------------------------------------------
#: Of the configuration node. Where it is set, no database is opened here.
SERVING_CONFIG_URL = env.str("SERVING_CONFIG_URL", default="")
SERVING_CONFIG_TOKEN = env.str("SERVING_CONFIG_TOKEN", default="")
#: Empty: those that sign with the settings of this node.
SERVING_CONFIG_TRUSTED_KEYS: list[str] = env.list("SERVING_CONFIG_TRUSTED_KEYS", default=[])

# --- The gateway ----------------------------------------------------------------------------------
AIGW_GITLAB_URL = env.str("AIGW_GITLAB_URL", default="").rstrip("/")
GATEWAY_TRUSTED_ISSUERS: list[str] = env.str("GATEWAY_TRUSTED_ISSUERS", default="").split()
GATEWAY_MODEL_METADATA = env.str("GATEWAY_MODEL_METADATA", default="registered")
CLOUD_CONNECTOR_SERVICE_NAME = env.str("CLOUD_CONNECTOR_SERVICE_NAME", default="gitlab-ai-gateway")
AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS = env.str("AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS", default="")
UPSTREAM_ALLOWED_CIDRS: list[str] = env.list("UPSTREAM_ALLOWED_CIDRS", default=[])
UPSTREAM_ALLOWED_HOSTS: list[str] = env.list("UPSTREAM_ALLOWED_HOSTS", default=[])
CA_BUNDLE = env.str("CA_BUNDLE", default="")
#: Bound by deploy/serve.py beside the gateway's own address; only /metrics is served there.
METRICS_BIND = env.str("METRICS_BIND", default="127.0.0.1:8082")
METRICS_PORT = as_count(METRICS_BIND.rpartition(":")[2] or "0")
AIGW_CUSTOM_MODELS__DISABLE_STREAMING = env.bool(
    "AIGW_CUSTOM_MODELS__DISABLE_STREAMING", default=False
)
GITLAB_VERSION = env.str("GITLAB_VERSION", default="")
CONFIGURATION_POLL_S = as_number(env.str("CONFIGURATION_POLL_S", default="2"))

# --- The documentation search ---------------------------------------------------------------------
DOCS_REGISTRY_URL = env.str("DOCS_REGISTRY_URL", default="")
DOCS_REGISTRY_TOKEN = env.str("DOCS_REGISTRY_TOKEN", default="")
DOCS_SIGNING_KEY = env.str("DOCS_SIGNING_KEY", default="") or kept_key(
    "docs_signing_key.pem", keyfiles.make_ed25519_key
)
#: Empty: what DOCS_SIGNING_KEY signs.
DOCS_TRUSTED_KEYS: list[str] = env.list("DOCS_TRUSTED_KEYS", default=[])
#: A search engine of the customer's, in place of the indexes on this node.
DOCS_SEARCH_URL = env.str("DOCS_SEARCH_URL", default="")
DOCS_SEARCH_TOKEN = env.str("DOCS_SEARCH_TOKEN", default="")
#: By meaning too, not by words alone; needs requirements-hybrid.txt and an index with vectors.
DOCS_HYBRID = as_switch(env.str("DOCS_HYBRID", default="0"))
#: Questions kept, redacted, that the documentation did not answer; 0: none is.
DOCS_UNANSWERED_QUESTIONS = as_count(env.str("DOCS_UNANSWERED_QUESTIONS", default="0"))

# --- Limits (gateway/routing/limits.py says what they mean) ---------------------------------------
#: Of all nodes together: each takes its share of what a model server may have in flight.
GATEWAY_WORKERS = as_count(env.str("GATEWAY_WORKERS", default=env.str("WEB_CONCURRENCY", "1")))
WORKER_MAX_IN_FLIGHT = as_count(env.str("WORKER_MAX_IN_FLIGHT", default="200"))
USER_MAX_IN_FLIGHT = as_count(env.str("USER_MAX_IN_FLIGHT", default="8"))
USER_REQUESTS_PER_MINUTE = as_count(env.str("USER_REQUESTS_PER_MINUTE", default="60"))
QUEUE_SIZE = as_count(env.str("QUEUE_SIZE", default="32"))
QUEUE_MAX_WAIT_S = as_number(env.str("QUEUE_MAX_WAIT_S", default="2"))
PROBE_SILENT_S = as_number(env.str("PROBE_SILENT_S", default="30"))
#: Hour of the day (UTC) from which model servers are measured again; None: never by themselves.
FINGERPRINT_HOUR = as_count(_hour) if (_hour := env.str("FINGERPRINT_HOUR", default="3")) else None
#: Less than gunicorn's --graceful-timeout, at which a worker is killed (deploy/serve.py).
DRAIN_S = as_number(env.str("DRAIN_S", default="25"))
BREAKER_FAILURES = as_count(env.str("BREAKER_FAILURES", default="5"))
#: Of one client of the REST API, at each worker.
REST_REQUESTS_PER_MINUTE = as_count(env.str("REST_REQUESTS_PER_MINUTE", default="600"))

# --- Evaluations ----------------------------------------------------------------------------------
#: Days that models' answers to the cases of a suite are kept; 0: they never are.
EVALUATION_ANSWER_DAYS = as_count(env.str("EVALUATION_ANSWER_DAYS", default="0"))
#: Of the site's own suites, *.yml; it need not exist.
EVALUATION_SUITES_DIR = Path(env.str("EVALUATION_SUITES_DIR", default=str(DATA_DIR / "suites")))

# --- Who gets at the admin pages ------------------------------------------------------------------
#: Of those who may change something.
TOTP_REQUIRED = as_switch(env.str("TOTP_REQUIRED", default="1"))
SECURE_COOKIES = as_switch(env.str("SECURE_COOKIES", default="1"))
HSTS_S = as_count(env.str("HSTS_S", default="31536000"))
IDLE_TIMEOUT_S = 30 * 60
LOGIN_ATTEMPTS = 5
LOCK_OUT = timedelta(minutes=15)

# --- Usage records --------------------------------------------------------------------------------
#: Days that a row for each request is kept; 0: none is written.
REQUEST_LOG_DAYS = as_count(env.str("REQUEST_LOG_DAYS", default="14"))
REQUEST_LOG_MAX_ROWS = as_count(env.str("REQUEST_LOG_MAX_ROWS", default="500000"))
#: Days that counts by hour, day and week are kept.
USAGE_DAYS = as_count(env.str("USAGE_DAYS", default="400"))

# --- Django ---------------------------------------------------------------------------------------
DEBUG_SWITCH = as_switch(env.str("DEBUG", default="0"))
DEBUG = DEBUG_SWITCH is True
ALLOWED_HOSTS: list[str] = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", socket.gethostname()]
)
INSTALLED_APPS = [
    "gateway",  # before Django's apps: its templates come first
    "gateway.apps.AdminPagesConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "selfhosted_models",
    "feature_config",
    "prompts",
    "docsearch",
    "axes",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_totp",
]
MIDDLEWARE = [  # of the admin; the gateway's paths have gateway/inbound/handler.py
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "gateway.pages.secure_cookies.plain_http_on_loopback",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
ROOT_URLCONF = "gateway.urls"
GATEWAY_URLCONF = "gateway.inbound.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Another one is refused by a check, which does not repeat it: a password may be inside.
_database = database_of(DATABASE_URL)
IS_DATABASE_URL_KNOWN = _database is not None
DATABASES: dict[str, dict[str, Any]] = {
    "default": _database or dict(env.db_url_config("sqlite:///:memory:"))
}
if SERVING_CONFIG_URL:
    DATABASES = {"default": {"ENGINE": "gateway.no_database"}}
elif DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 5,
        "transaction_mode": "IMMEDIATE",  # a writer waits its turn at the start, not half-way
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        connect_timeout=3,
        options="-c statement_timeout=5000 -c lock_timeout=2000",
        # A server that vanishes in the middle of a query is given up after 14 seconds.
        keepalives_idle=5,
        keepalives_interval=3,
        keepalives_count=3,
    )

# --- The REST API ---------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["gateway.rest.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["gateway.rest.permissions.HasRequiredScope"],
    "DEFAULT_THROTTLE_CLASSES": ["gateway.rest.throttling.ClientThrottle"],
    "DEFAULT_PAGINATION_CLASS": "gateway.rest.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_PARSER_CLASSES": ["gateway.rest.parsers.StrictJsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "gateway.rest.problems.answer_exception",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Self-hosted models for GitLab Duo: configuration",
    "DESCRIPTION": "Everything an admin can do in the web. Conventions: docs/rest-api.md.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {"RunStateEnum": "selfhosted_models.background_runs.RunState"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gateway.rest.schema.add_problems",
    ],
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"  # empty: see the next line
if not (IS_ONLY_LOOKING or DATA_DIR_PROBLEMS):
    try:
        STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing one
    except OSError as _error:
        DATA_DIR_PROBLEMS.append(f"{STATIC_ROOT}: {_error.strerror}")
WHITENOISE_USE_FINDERS = True  # served from the packages: nothing to collect, nothing to forget

SESSION_COOKIE_AGE = IDLE_TIMEOUT_S
SESSION_SAVE_EVERY_REQUEST = True  # the time-out counts from the last page, not from the login
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES is not False
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "gateway.pages.errors.csrf_failed"
SECURE_HSTS_SECONDS = max(HSTS_S, 0)
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}

# The address is what the server says it is: proxies it trusts are named by FORWARDED_ALLOW_IPS.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = LOGIN_ATTEMPTS
AXES_COOLOFF_TIME = LOCK_OUT
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "gateway.pages.errors.locked_out"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True  # the audit trail has the logins
AXES_VERBOSE = False
OTP_TOTP_ISSUER = "Self-hosted models for GitLab Duo"

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING_CONFIG = None
# Of a command, standard output is for what it was asked for.
logs.configure(LOG_LEVEL, sys.stderr if Path(sys.argv[0]).name == "manage.py" else sys.stdout)
