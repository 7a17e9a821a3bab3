"""Whatever is wrong with what was received: its reason is told, and the old index answers on."""

import json
import os
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from docsearch.errors import (
    DocsIndexError,
    DowngradeRefused,
    IndexIncomplete,
    IndexRejected,
    IndexUnusable,
    InstallationUnderWay,
    ManifestInvalid,
    PreviousMissing,
    SignatureInvalid,
)
from docsearch.installing import install_file, sign_index
from docsearch.manifest import MAX_INDEX_BYTES, Manifest, manifest_path
from docsearch.search import search_docs
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from tests.unit.docsearch.pages import KEY, NOW, TRUSTED, build, install, signed

VERSION = GitLabVersion(17, 4, 0)


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    """A store in which `old.md` answers."""
    store = IndexStore(tmp_path / "store")
    (tmp_path / "old").mkdir()
    install(store, tmp_path / "old", old="# Issue board")
    return store


@pytest.fixture
def received(tmp_path: Path) -> Path:
    """A good index of `new.md`, made later, with its manifest."""
    return signed(tmp_path, now=NOW + timedelta(days=1), new="# Issue board")


def answering(store: IndexStore) -> str:
    return search_docs(store, "board").passages[0].path


def sign_again(file: Path, **changes: Any) -> None:
    """Sign `file` as it is now, with a key that is trusted; `changes` are lies."""
    at = NOW + timedelta(days=1)
    manifest = Manifest.of(file, VERSION, KEY, schema_version=1, now=at)
    fields = {name: getattr(manifest, name) for name in manifest.__slots__}
    manifest_path(file).write_bytes(Manifest(**{**fields, **changes}).signed(KEY))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def declare_too_much(file: Path) -> None:
    sign_again(file, size=MAX_INDEX_BYTES + 1)


def hide_a_view(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE VIEW hostile AS SELECT load_extension('x')")
        connection.commit()
    sign_again(file)


def be_of_another_version(file: Path) -> None:
    sign_again(file, version=GitLabVersion(17, 5, 0))


def be_of_another_form(file: Path) -> None:
    sign_again(file, schema=999)


def find_nothing(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
        connection.commit()
    sign_again(file)


def change_the_manifest(file: Path) -> None:
    fields = json.loads(manifest_path(file).read_bytes())
    manifest_path(file).write_text(json.dumps({**fields, "created": "2027-01-01T00:00:00Z"}))


def sign_as_a_stranger(file: Path) -> None:
    sign_index(file, VERSION, Ed25519PrivateKey.generate(), now=NOW)


def replay(file: Path) -> None:
    sign_index(file, VERSION, KEY, now=NOW - timedelta(seconds=1))


def lose_the_manifest(file: Path) -> None:
    manifest_path(file).unlink()


def lengthen_the_manifest(file: Path) -> None:
    manifest_path(file).write_bytes(b" " * 1_000_000)


def garble_the_manifest(file: Path) -> None:
    manifest_path(file).write_bytes(b"\xff{}")


def nest_the_manifest(file: Path) -> None:
    manifest_path(file).write_bytes(b"[" * 4000)


def be_an_archive(file: Path) -> None:
    """Neither unpacked nor followed out of its folder."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped.sqlite3", bytes(10_000_000))
    sign_again(file)


def be_a_bomb(file: Path) -> None:
    """Its pages unpack to far more than pages have."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE pages SET content = ?", (zlib.compress(bytes(64_000_000)),))
        connection.commit()
    sign_again(file)


def be_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (truncate, IndexIncomplete, "Only"),
        (flip_a_bit, IndexRejected, "not those that were signed"),
        (lengthen, IndexRejected, "longer than"),
        (declare_too_much, ManifestInvalid, "536,870,912"),
        (hide_a_view, IndexRejected, "its tables are others"),
        (find_nothing, IndexRejected, "its own pages"),
        (be_of_another_version, IndexRejected, "it is of GitLab 17.4.0"),
        (be_of_another_form, ManifestInvalid, "form 999"),
        (change_the_manifest, SignatureInvalid, "changed after it was signed"),
        (sign_as_a_stranger, SignatureInvalid, "DOCS_TRUSTED_KEYS"),
        (replay, DowngradeRefused, "--allow-downgrade"),
        (lose_the_manifest, ManifestInvalid, "Carry it along"),
        (lengthen_the_manifest, ManifestInvalid, "4,096"),
        (garble_the_manifest, ManifestInvalid, "not JSON"),
        (nest_the_manifest, ManifestInvalid, "not JSON"),
        (be_an_archive, IndexRejected, "cannot be searched"),
        (be_a_bomb, IndexRejected, "damaged"),
        (be_a_pipe, IndexUnusable, "no file"),
    ],
)
def test_a_bad_index_is_rejected_with_its_reason_and_the_old_one_answers(
    store: IndexStore,
    received: Path,
    spoil: Callable[[Path], None],
    error: type[DocsIndexError],
    told: str,
) -> None:
    spoil(received)

    with pytest.raises(error, match=told):
        install_file(store, received, TRUSTED)

    assert answering(store) == "doc/old.md"
    assert store.installed() == [VERSION]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "../17.4.0"),
        ("version", "v17.4.0"),
        ("version", 17),
        ("sha256", "A" * 64),
        ("sha256", "../" * 10),
        ("size", 0),
        ("size", True),
        ("size", "9"),
        ("schema", 1.0),
        ("created", "2026-05-01"),
        ("created", "2026-05-01T00:00:00+02:00"),
        ("created", None),
        ("key", "AAAA"),
        ("key", None),
        ("key", ["x"]),
        ("signature", "!"),
        ("signature", None),
        ("more", 1),
    ],
)
def test_a_manifest_with_a_strange_field_is_refused(
    store: IndexStore, received: Path, field: str, value: object
) -> None:
    fields = json.loads(manifest_path(received).read_bytes())
    manifest_path(received).write_text(json.dumps({**fields, field: value}))

    with pytest.raises((ManifestInvalid, SignatureInvalid)):
        install_file(store, received, TRUSTED)

    assert answering(store) == "doc/old.md"


def test_a_good_index_answers_and_leaves_nothing_behind(store: IndexStore, received: Path) -> None:
    progress: list[tuple[int, int]] = []

    done = install_file(
        store, received, TRUSTED, on_bytes=lambda done, of: progress.append((done, of))
    )

    assert done.is_new
    assert answering(store) == "doc/new.md"
    assert progress[-1] == (received.stat().st_size,) * 2
    assert store.manifest_of(VERSION) == done.manifest
    names = {file.name for file in store.path_of(VERSION).parent.iterdir()}
    assert names == {
        "index.sqlite3",
        "index.sqlite3.manifest.json",
        "index.sqlite3.origin",
        "previous-index.sqlite3",
        "previous-index.sqlite3.manifest.json",
        "previous-index.sqlite3.origin",
    }


def test_the_same_index_is_not_installed_twice(store: IndexStore, received: Path) -> None:
    install_file(store, received, TRUSTED)

    assert not install_file(store, received, TRUSTED).is_new
    store.rollback(VERSION)
    assert answering(store) == "doc/old.md"


def test_an_index_damaged_on_disk_is_installed_again(store: IndexStore, received: Path) -> None:
    install_file(store, received, TRUSTED)
    flip_a_bit(store.path_of(VERSION))

    assert install_file(store, received, TRUSTED).is_new
    assert answering(store) == "doc/new.md"


def test_an_older_index_is_taken_when_that_is_asked_for(store: IndexStore, received: Path) -> None:
    replay(received)

    install_file(store, received, TRUSTED, allow_downgrade=True)

    assert answering(store) == "doc/new.md"


def test_rollback_goes_back_and_forth(store: IndexStore, received: Path) -> None:
    made = store.manifest_of(VERSION)
    install_file(store, received, TRUSTED)

    store.rollback(VERSION)

    assert answering(store) == "doc/old.md"
    assert store.manifest_of(VERSION) == made
    assert store.origin_of(VERSION) == "built"
    store.rollback(VERSION)
    assert answering(store) == "doc/new.md"
    assert store.origin_of(VERSION) == "file"


def test_an_index_of_an_earlier_release_has_no_origin_and_is_rolled_back_all_the_same(
    store: IndexStore, received: Path
) -> None:
    origin = store.path_of(VERSION).with_name("index.sqlite3.origin")
    origin.unlink()
    install_file(store, received, TRUSTED)

    store.rollback(VERSION)

    assert answering(store) == "doc/old.md"
    assert store.origin_of(VERSION) is None
    origin.write_text("elsewhere")
    assert store.origin_of(VERSION) is None


def test_rollback_without_a_previous_index_changes_nothing(store: IndexStore) -> None:
    with pytest.raises(PreviousMissing, match="--gitlab-version"):
        store.rollback(VERSION)

    assert answering(store) == "doc/old.md"


def test_only_one_installs_at_a_time(store: IndexStore, received: Path) -> None:
    with store.installing(), pytest.raises(InstallationUnderWay):
        install_file(store, received, TRUSTED)

    assert install_file(store, received, TRUSTED).is_new


def test_a_kill_before_the_activation_leaves_the_old_index(
    store: IndexStore, received: Path
) -> None:
    def killed(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_file(store, received, TRUSTED, on_bytes=killed)

    assert answering(store) == "doc/old.md"
    assert install_file(store, received, TRUSTED).is_new


def test_the_same_documentation_makes_the_same_bytes_signed_or_not(tmp_path: Path) -> None:
    first = signed(tmp_path, page="# Issue board").read_bytes()

    assert build(tmp_path, page="# Issue board").read_bytes() == first
