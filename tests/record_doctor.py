"""Write what `doctor` says of a healthy and of broken installations into docs/operations.md.

    .venv/bin/python -m tests.record_doctor        (make recordings)

The installations are real and made for it: a gateway, a GitLab instance and a model server.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from gateway.doctor.symptoms import SYMPTOMS  # noqa: E402
from tests.e2e.conftest import running_site  # noqa: E402
from tests.e2e.doctor_setups import PAGE, SETUPS, tidied  # noqa: E402


def symptoms() -> Iterator[str]:
    yield "| Symptom | Checks | Remark |\n|---|---|---|"
    for symptom in SYMPTOMS:
        checks = ", ".join(f"`{check}`" for check in symptom.checks) or "none"
        yield f"| {symptom.told_as} | {checks} | {symptom.remark} |"


def recordings() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site:
        for setup in SETUPS:
            result = setup.examine(site)
            told = tidied(result.stdout, site.gateway.env["DATA_DIR"])
            yield f"### {setup.title}\n\n```\n$ manage.py doctor\n{told}\n```\n"
            yield f"Exit status: {result.returncode}.\n"


def between(page: str, name: str, lines: Iterator[str]) -> str:
    begin, end = f"<!-- {name}: make recordings -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    page = between(page, "symptoms", symptoms())
    PAGE.write_text(between(page, "recordings", recordings()), encoding="utf-8")


if __name__ == "__main__":
    main()
