import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from docsearch import source
from docsearch.errors import SourceInvalid
from docsearch.source import Source, read_source

PAGES = {
    "doc/ci/yaml.md": "# YAML",
    "doc/README.md": "# Home",
    "README.md": "not of it",
    "a.txt": "x",
}


def in_folder(folder: Path, pages: dict[str, str]) -> Path:
    for name, text in pages.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def in_zip(file: Path, pages: dict[str, str]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in pages.items():
            archive.writestr(name, text)
    return file


def in_tar(file: Path, pages: dict[str, str]) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, text in pages.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return file


def texts(found: Source) -> dict[str, str]:
    return {file.path: file.text for file in found.files}


def test_folder_and_archives_of_it_read_the_same(tmp_path: Path) -> None:
    below = {f"gitlab-v17.4.0-ee-doc/{name}": text for name, text in PAGES.items()}

    folder = read_source(in_folder(tmp_path / "checkout", PAGES))

    assert texts(folder) == {"doc/README.md": "# Home", "doc/ci/yaml.md": "# YAML"}
    assert folder.docs_root == "doc/"
    assert read_source(in_zip(tmp_path / "a.zip", below)) == folder
    assert read_source(in_tar(tmp_path / "a.tar.gz", below)) == folder


def test_several_projects_side_by_side_keep_their_folders(tmp_path: Path) -> None:
    found = read_source(in_folder(tmp_path, {"runner/docs/a.md": "a", "cli/docs/b.md": "b"}))

    assert [*texts(found)] == ["cli/docs/b.md", "runner/docs/a.md"]
    assert found.docs_root == ""


def test_hidden_folders_and_links_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("outside")
    checkout = in_folder(tmp_path / "checkout", {"doc/a.md": "a", "doc/.git/b.md": "b"})
    (checkout / "doc" / "link.md").symlink_to(tmp_path / "secret.md")

    assert [*texts(read_source(checkout))] == ["doc/a.md"]


def test_a_page_that_is_not_utf8_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"caf\xe9 issue")

    assert texts(read_source(tmp_path)) == {"a.md": "caf\ufffd issue"}


@pytest.mark.parametrize("name", ["../evil.md", "/etc/evil.md", "doc/../../evil.md", "..\\evil.md"])
def test_an_archive_that_points_outside_itself_is_refused(tmp_path: Path, name: str) -> None:
    for file in (
        in_zip(tmp_path / "a.zip", {name: "x"}),
        in_tar(tmp_path / "a.tar.gz", {name: "x"}),
    ):
        with pytest.raises(SourceInvalid, match="outside itself"):
            read_source(file)

    assert not (tmp_path.parent / "evil.md").exists()


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        link = tarfile.TarInfo("doc/a.md")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    with pytest.raises(SourceInvalid, match=r"no \.md file"):
        read_source(file)


def test_an_archive_of_nothing_but_zeros_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.tar.gz"
    with tarfile.open(file, "w:gz", compresslevel=9) as archive:
        member = tarfile.TarInfo("doc/image.png")
        member.size = 64 * 1024 * 1024
        archive.addfile(member, io.BytesIO(bytes(member.size)))

    with pytest.raises(SourceInvalid, match="far more"):
        read_source(file)


def test_a_page_far_too_large_is_refused_packed_or_not(tmp_path: Path) -> None:
    pages = {"doc/a.md": "a" * (source.MAX_PAGE_BYTES + 1)}

    for path in (in_folder(tmp_path / "f", pages), in_zip(tmp_path / "a.zip", pages)):
        with pytest.raises(SourceInvalid, match="too large for a page"):
            read_source(path)


def test_too_many_pages_are_refused(tmp_path: Path) -> None:
    pages = {f"doc/{number}.md": "" for number in range(source.MAX_PAGES + 1)}

    with pytest.raises(SourceInvalid, match="only the folder with the documentation"):
        read_source(in_zip(tmp_path / "a.zip", pages))


def test_what_cannot_be_read_is_told_with_what_to_give(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    half = tmp_path / "half.tar.gz"
    whole = gzip.compress(in_tar(tmp_path / "a.tar.gz", PAGES).read_bytes())
    half.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()

    for path in (tmp_path / "nowhere", text, half, tmp_path / "empty"):
        with pytest.raises(SourceInvalid, match=r"Give|give"):
            read_source(path)
