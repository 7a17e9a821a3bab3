import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography.fernet import Fernet

from gateway.authentication.keyfiles import (
    make_fernet_key,
    make_secret_key,
    make_signing_key,
    read_or_create,
)
from gateway.authentication.trusted_keys import load_own_keys
from tests.services import REPOSITORY

CREATE = """
import sys
from pathlib import Path
from gateway.authentication.keyfiles import make_secret_key, read_or_create
sys.stdin.readline()
print(read_or_create(Path(sys.argv[1]), make_secret_key))
"""


def test_missing_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "key"
    os.umask(umask := os.umask(0))  # whatever it is: modes are given, not left to it

    made = read_or_create(path, lambda: "a key")

    assert made == path.read_text() == "a key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 & ~umask
    assert [*path.parent.iterdir()] == [path]


def test_file_that_is_there_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("a key\n")

    assert read_or_create(path, lambda: pytest.fail("made anew")) == "a key"


def test_key_that_cannot_be_made_leaves_no_key(tmp_path: Path) -> None:
    path = tmp_path / "key"

    def fail() -> str:
        raise OSError("no entropy")

    with pytest.raises(OSError, match="no entropy"):
        read_or_create(path, fail)

    assert not path.exists()


def test_threads_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    together = Barrier(8)

    def create(number: int) -> str:
        def make() -> str:
            together.wait()  # all of them have found no file
            return f"key-{number}"

        return read_or_create(tmp_path / "key", make)

    with ThreadPoolExecutor(8) as pool:
        keys = {*pool.map(create, range(8))}

    assert len(keys) == 1
    assert [*tmp_path.iterdir()] == [tmp_path / "key"]


def test_processes_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, tmp_path / "key"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]

    keys = {process.communicate("go\n")[0] for process in processes}

    assert len(keys) == 1
    assert [*tmp_path.iterdir()] == [tmp_path / "key"]


def test_made_keys_are_fit_for_their_purpose() -> None:
    assert len(make_secret_key()) >= 50
    assert Fernet(make_fernet_key())
    assert load_own_keys(make_signing_key(), "").signing.key_size == 2048
