from pathlib import Path

import pytest

from gateway.configuration.document import KeyReference
from gateway.configuration.errors import KeyUnreadable
from gateway.configuration.keys import MAX_FILE_BYTES, KeyReader


def test_key_is_read_from_the_environment(tmp_path: Path) -> None:
    keys = KeyReader({"KEY": " sk-1\n"}, tmp_path)

    assert keys.read(KeyReference(env="KEY")) == "sk-1"


def test_key_is_read_from_a_file_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-2\n")
    keys = KeyReader({}, tmp_path)

    assert keys.read(KeyReference(file="key")) == "sk-2"
    assert keys.read(KeyReference(file=str(tmp_path / "key"))) == "sk-2"


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": " \n"}])
def test_variable_that_is_not_set_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(KeyUnreadable, match="variable KEY is not set"):
        KeyReader(environ, tmp_path).read(KeyReference(env="KEY"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "file key cannot be read \\(No such file"),
        (b"", "file key is empty"),
        (b"\xff", "file key cannot be read \\(it is no ASCII text\\)"),
    ],
)
def test_file_that_cannot_be_read_is_named(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)

    with pytest.raises(KeyUnreadable, match=words):
        KeyReader({}, tmp_path).read(KeyReference(file="key"))


def test_folder_and_impossible_name_are_no_keys(tmp_path: Path) -> None:
    for name in (".", "a\0b"):
        with pytest.raises(KeyUnreadable):
            KeyReader({}, tmp_path).read(KeyReference(file=name))


def test_no_more_of_a_file_is_read_than_a_key_may_have(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * (MAX_FILE_BYTES + 1))

    assert len(KeyReader({}, tmp_path).read(KeyReference(file="key"))) == MAX_FILE_BYTES
