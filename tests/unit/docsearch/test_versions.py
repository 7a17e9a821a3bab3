import pytest

from docsearch.errors import VersionInvalid
from docsearch.versions import GitLabVersion


@pytest.mark.parametrize(
    "text",
    ["18.0.1", "v18.0.1", "18.0.1-ee", "v18.0.1-ee", "18.0.1-pre", "18.0.1+build.5", " 18.0.1\n"],
)
def test_one_release_is_written_in_many_ways(text: str) -> None:
    assert GitLabVersion.parse(text) == GitLabVersion(18, 0, 1)


def test_a_version_without_patch_is_its_first() -> None:
    assert str(GitLabVersion.parse("11.8")) == "11.8.0"


def test_versions_are_compared_as_numbers() -> None:
    assert GitLabVersion.parse("17.10.0") > GitLabVersion.parse("17.9.9")


@pytest.mark.parametrize(
    "text", ["", "latest", "18", "18.x", "../../etc", "1.2.3.4/5", "٣.١", "1" * 9 + ".0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(VersionInvalid, match=r"17\.4\.0"):
        GitLabVersion.parse(text)
