"""Every row of the catalogue of what goes wrong in the field has its check, or a reason."""

import pytest

from gateway.doctor.checkup import CHECKS
from gateway.doctor.symptoms import SYMPTOMS, Symptom
from tests.services import REPOSITORY

CATALOGUE = REPOSITORY.parent / "shared" / "reference" / "admin-and-operations.md"


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.told_as)
def test_symptom_has_a_check_or_a_reason(symptom: Symptom) -> None:
    assert set(symptom.checks) <= set(CHECKS)
    assert symptom.checks or symptom.remark


def test_no_row_of_the_catalogue_is_left_out() -> None:
    if not CATALOGUE.exists():
        pytest.skip(f"{CATALOGUE} is not here")
    section = CATALOGUE.read_text().partition("## 12.")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]

    assert [symptom.told_as for symptom in SYMPTOMS] == rows[2:]


def test_page_for_operators_names_every_symptom_with_its_checks() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()

    for symptom in SYMPTOMS:
        checks = ", ".join(f"`{check}`" for check in symptom.checks) or "cannot occur"
        assert f"| {symptom.told_as} | {checks} | {symptom.remark} |" in page
