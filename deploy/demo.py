#!/usr/bin/env python
"""The whole product on one machine: a real small LLM, registered, assigned, and asked.

    python deploy/demo.py [--once] [--port 8000]

Starts everything on loopback, asks one question through the gateway, and stays up until Ctrl-C;
with --once it ends after the answer (exit 0), or says what failed (exit 1). Its data is in
var/demo, whatever the environment says: it must never assign the features of a real installation.
"""

import argparse
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
HOST = "127.0.0.1"
DEPLOYMENT = "demo-smollm2"
FEATURES = ("duo_chat", "code_completions", "code_generations")
SCOPES = "duo_chat,complete_code,generate_code"
CONTEXT_TOKENS = 4096
USER = "demo"
QUESTION = "What is a merge request? Answer in two sentences."
START_WITHIN_S = 60.0
ANSWER_WITHIN_S = 60.0


#: Settings of a real installation in this shell: its keys must not sign the demo's token.
_NOT_OURS = (
    "AIGW_SELF_SIGNED_JWT__SIGNING_KEY",
    "AIGW_SELF_SIGNED_JWT__VALIDATION_KEY",
    "AIGW_GITLAB_URL",
    "ENCRYPTION_KEYS",
    "GATEWAY_TRUSTED_ISSUERS",
    "REDIS_URL",
    "SECRET_KEY",
    "UPSTREAM_ALLOWED_CIDRS",
)


class DemoFailed(Exception):
    """A step did not work; the message says which and what to do."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


@contextmanager
def running(name: str, script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a script of `deploy/` until the block ends; its log goes to DATA_DIR."""
    log_path = Path(os.environ["DATA_DIR"]) / f"{name}.log"
    with log_path.open("w") as log_file:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(ROOT / "deploy" / script), *arguments],
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us alone; we end it in order
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def copy_output(process: "subprocess.Popen[str]", name: str) -> "queue.Queue[str]":
    """Write what `process` prints to its log, and hand out its lines too; never blocks it."""
    lines: queue.Queue[str] = queue.Queue()

    def copy() -> None:
        log_path = Path(os.environ["DATA_DIR"]) / f"{name}.log"
        with log_path.open("a") as log_file:
            for line in process.stdout or ():
                log_file.write(line)
                log_file.flush()
                lines.put(line.strip())
        lines.put("")

    threading.Thread(target=copy, daemon=True).start()
    return lines


def require_free_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoFailed(
                f"Port {port} is in use: stop what listens there (perhaps another demo), or choose "
                "another, as in make demo PORT=8001."
            ) from error


def wait_for_llm(process: "subprocess.Popen[str]") -> str:
    """Return the base URL the model server prints once it answers."""
    lines = copy_output(process, "llm")
    try:
        url = lines.get(timeout=START_WITHIN_S)
    except queue.Empty:
        url = ""
    if not url.startswith("http"):
        raise DemoFailed(f"The small LLM did not start. {_log_tail('llm')}")
    return url


def wait_for_gateway(process: "subprocess.Popen[str]", url: str) -> None:
    copy_output(process, "gateway")
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/monitoring/healthz", timeout=2).read()  # noqa: S310
            return
        threading.Event().wait(0.1)
    raise DemoFailed(f"The gateway did not start. {_log_tail('gateway')}")


def _log_tail(name: str) -> str:
    log_path = Path(os.environ["DATA_DIR"]) / f"{name}.log"
    tail = log_path.read_text(errors="replace").splitlines()[-15:] if log_path.exists() else []
    return f"The end of {log_path}:\n    " + "\n    ".join(tail or ["(empty)"])


def migrate() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def register(llm_url: str) -> None:
    """Register the small LLM and let it answer the features; safe to repeat."""
    from feature_config.models import FeatureSetting
    from gateway.audit import Attribution, Origin
    from gateway.configuration.history import changing_configuration
    from selfhosted_models.models import ModelDeployment

    with changing_configuration(Attribution("demo", Origin.COMMAND)):
        deployment = ModelDeployment.objects.filter(name=DEPLOYMENT).first()
        deployment = deployment or ModelDeployment(name=DEPLOYMENT)
        deployment.family = "general"
        deployment.serving_format = "openai_chat"
        deployment.endpoints = [llm_url]
        deployment.model_identifier = "smollm2-135m-instruct"
        deployment.context_tokens = CONTEXT_TOKENS
        deployment.is_active = True
        deployment.full_clean()
        deployment.save()
        for feature in FEATURES:
            FeatureSetting.objects.get(feature=feature).assign([deployment])


def make_admin() -> str:
    """Give the user admin a new password and return it."""
    from django.contrib.auth import get_user_model

    password = secrets.token_urlsafe(12)
    admin, _ = get_user_model().objects.get_or_create(
        username="admin", defaults={"is_staff": True, "is_superuser": True}
    )
    admin.set_password(password)
    admin.save()
    return password


def make_token() -> str:
    from io import StringIO

    from django.core.management import call_command

    out = StringIO()
    call_command("issue_token", user=USER, scopes=SCOPES, stdout=out)
    return out.getvalue().strip()


def question_headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Global-User-Id": USER,
        "Content-Type": "application/json",
    }


def ask(gateway_url: str, token: str) -> None:
    """Ask the question through the gateway and print the answer as it comes."""
    body = {
        "model": "duo_chat",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
    }
    request = urllib.request.Request(  # noqa: S310
        f"{gateway_url}/openai/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers=question_headers(token),
    )
    pieces, started = 0, time.monotonic()
    first_s = 0.0
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S) as response:  # noqa: S310
            for line in response:
                text = _text_of(line)
                if text:
                    first_s = first_s or time.monotonic() - started
                    pieces += 1
                    print(text, end="", flush=True)
    except urllib.error.HTTPError as error:
        raise DemoFailed(
            f"The gateway answered {error.code}: {error.read().decode(errors='replace')}"
        ) from error
    except OSError as error:
        raise DemoFailed(f"The gateway could not be asked: {error}") from error
    print(flush=True)
    if not pieces:
        raise DemoFailed(f"The answer was empty. {_log_tail('gateway')}")
    total_s = time.monotonic() - started
    say(f"{pieces} pieces; the first after {first_s:.2f} s, the last after {total_s:.2f} s")


def _text_of(line: bytes) -> str:
    if not line.startswith(b"data: {"):
        return ""
    event = json.loads(line[len(b"data: ") :])
    if "error" in event:
        raise DemoFailed(f"The answer broke off: {event['error']['message']}")
    choices = event["choices"]
    return str(choices[0]["delta"].get("content", "")) if choices else ""


def tell_how_to_go_on(gateway_url: str, token: str, password: str) -> None:
    headers = " \\\n    ".join(
        f"-H '{name}: {value}'" for name, value in question_headers(token).items()
    )
    body = json.dumps(
        {"model": "duo_chat", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    )
    print(f"""
Everything is up until you press Ctrl-C.

  The admin pages:  {gateway_url}/admin/
  user              admin
  password          {password}    (this run's; the next makes a new one)

  Ask something yourself (the token is good for an hour):

  curl -N {gateway_url}/openai/v1/chat/completions \\
    {headers} \\
    -d '{body}'

  Logs: {os.environ["DATA_DIR"]}/gateway.log and llm.log
""")


def set_environment() -> None:
    """Point everything started here at the demo's own data, and let it dial loopback."""
    for name in _NOT_OURS:
        os.environ.pop(name, None)
    data_dir = ROOT / "var" / "demo"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["DATA_DIR"] = str(data_dir)
    os.environ["DATABASE_URL"] = f"sqlite:///{data_dir / 'db.sqlite3'}"
    os.environ["UPSTREAM_ALLOWED_HOSTS"] = HOST
    os.environ["TOTP_REQUIRED"] = "0"  # its password is good for one run, on loopback alone
    os.environ.setdefault("LOG_LEVEL", "INFO")
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"


def run(*, once: bool, port: int) -> None:
    started = time.monotonic()
    set_environment()
    require_free_port(port)
    gateway_url = f"http://{HOST}:{port}"
    say("Creating the database")
    migrate()
    say("Starting a real small LLM (SmolLM2, 135M parameters) on this machine's CPU")
    with running("llm", "small_llm.py", "--context-tokens", str(CONTEXT_TOKENS)) as llm:
        llm_url = wait_for_llm(llm)
        say(f"It answers at {llm_url}; registering it and assigning {', '.join(FEATURES)}")
        register(llm_url)
        password, token = make_admin(), make_token()
        say(f"Starting the gateway at {gateway_url}")
        with running("gateway", "serve.py", "--host", HOST, "--port", str(port)) as gateway:
            wait_for_gateway(gateway, gateway_url)
            say(f"Up after {time.monotonic() - started:.1f} s. Asking: {QUESTION}\n")
            ask(gateway_url, token)
            if once:
                return
            tell_how_to_go_on(gateway_url, token, password)
            with suppress(KeyboardInterrupt):
                gateway.wait()
                raise DemoFailed(f"The gateway ended. {_log_tail('gateway')}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask a real small LLM through the gateway.")
    parser.add_argument("--once", action="store_true", help="end after the answer")
    parser.add_argument("--port", type=int, default=8000, help="of the gateway, on loopback")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(once=args.once, port=args.port)
    except DemoFailed as error:
        print(f"\nThe demo failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
