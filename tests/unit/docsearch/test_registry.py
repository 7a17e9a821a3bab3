"""Which header a token is sent in; the registry itself is asked in the contract tests."""

import pytest

from docsearch.registry import token_header


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("glpat-abc", {"PRIVATE-TOKEN": "glpat-abc"}),
        ("abc", {"PRIVATE-TOKEN": "abc"}),
        ("gldt-abc", {"Deploy-Token": "gldt-abc"}),
        ("glcbt-abc", {"JOB-TOKEN": "glcbt-abc"}),
        ("Deploy-Token: abc", {"Deploy-Token": "abc"}),
        ("job-token:abc", {"JOB-TOKEN": "abc"}),
        ("", {}),
    ],
)
def test_each_kind_of_token_has_its_header(token: str, header: dict[str, str]) -> None:
    assert token_header(token) == header
