"""`doctor` on a healthy installation and on broken ones, as operators run it."""

import json

import pytest

from tests.e2e.conftest import Site
from tests.e2e.doctor_setups import PASSWORD, SETUPS, SetUp


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.title)
def test_doctor_names_what_is_broken_and_what_to_do(site: Site, setup: SetUp) -> None:
    result = setup.examine(site, "--json")

    report = json.loads(result.stdout)
    findings = report["findings"]
    failed = [finding for finding in findings if finding["state"] == "failed"]
    assert {finding["check"] for finding in failed} == setup.fails, failed
    assert all(finding["evidence"] and finding["remedy"] for finding in failed)
    assert (report["healthy"], result.returncode) == (not setup.fails, int(bool(setup.fails)))
    for secret in (PASSWORD, "sk-canary-0123456789abcdef", site.gateway.env.get("SECRET_KEY", "!")):
        assert secret not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
