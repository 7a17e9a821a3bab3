from pathlib import Path

import pytest

from docsearch.errors import IndexMissing
from docsearch.search import search_docs, search_index
from docsearch.store import IndexStore, choose_version
from docsearch.versions import GitLabVersion
from tests.unit.docsearch.pages import install


def versions(*texts: str) -> list[GitLabVersion]:
    return [GitLabVersion.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("wanted", "installed", "chosen", "is_warned"),
    [
        ("17.4.2", ["17.3.9", "17.4.2", "17.4.3"], "17.4.2", False),
        ("17.4.2", ["17.4.0", "17.4.1", "17.4.3"], "17.4.1", False),
        ("17.4.2", ["16.11.9", "17.3.0", "17.4.3"], "17.3.0", True),
        ("18.0.0", ["17.10.0", "17.9.0"], "17.10.0", True),
        ("17.4.2", ["17.4.3", "18.0.0"], None, False),
        ("17.4.2", [], None, False),
        (None, ["17.4.2", "17.10.0"], "17.10.0", False),
        (None, [], None, False),
    ],
)
def test_the_nearest_version_that_is_not_newer_answers(
    wanted: str | None, installed: list[str], chosen: str | None, is_warned: bool
) -> None:
    choice = choose_version(GitLabVersion.parse(wanted) if wanted else None, versions(*installed))

    assert (str(choice.version) if choice else None) == chosen
    assert bool(choice and choice.warning) == is_warned


def test_a_replaced_index_answers_at_once(tmp_path: Path) -> None:
    store = IndexStore(tmp_path / "store")
    install(store, tmp_path, old="# Issue board")
    before = search_docs(store, "board").passages[0].path

    install(store, tmp_path, new="# Issue board")

    assert (before, search_docs(store, "board").passages[0].path) == ("doc/old.md", "doc/new.md")


def test_a_search_that_has_begun_ends_on_the_index_it_began_on(tmp_path: Path) -> None:
    store = IndexStore(tmp_path / "store")
    install(store, tmp_path, old="# Issue board")
    begun, _ = store.open(None)

    install(store, tmp_path, new="# Issue board")
    store.open(None)

    assert search_index(begun, "board").passages[0].path == "doc/old.md"
    store.close()


def test_other_things_in_the_folder_are_no_indexes(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "index.sqlite3").touch()
    (tmp_path / "17.4.0").mkdir()

    with pytest.raises(IndexMissing):
        IndexStore(tmp_path).open(None)
