"""Documentation indexes are published, fetched and kept in line, over real sockets."""

import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from docsearch.installing import install_published, sign_index
from docsearch.manifest import Manifest, manifest_path
from docsearch.search import search_docs
from docsearch.signing import load_signing_key
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.registry import docs_registry_from_settings, open_registry
from gateway.documentation.upkeep import DocsUpkeep, Look
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.errors import SettingInvalid
from tests.fakes.package_registry import Fault, PackageRegistryServer

VERSION = GitLabVersion(17, 4, 0)


@pytest.fixture
def registry(settings: Settings, tmp_path: Path) -> Iterator[PackageRegistryServer]:
    """A registry that the settings name."""
    with PackageRegistryServer() as server:
        settings.DATA_DIR = tmp_path / "data"
        settings.GITLAB_VERSION = ""
        settings.DOCS_REGISTRY_URL = server.url
        settings.DOCS_REGISTRY_TOKEN = server.token
        yield server


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore.below(tmp_path / "data")


def run(*arguments: str) -> tuple[str, str]:
    """Run a command and return what it says, and warns of."""
    output, warnings = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=output, stderr=warnings)
    return output.getvalue(), warnings.getvalue()


def build(folder: Path, name: str, version: str = "17.4.0") -> Path:
    """Build an index whose one page is `name`.md, and return its file."""
    source = folder / name / "doc"
    source.mkdir(parents=True)
    (source / f"{name}.md").write_text("# Issue board\n\nCards in lists.\n" * 20)
    file = folder / f"{name}.sqlite3"
    run("build_docs_index", str(source.parent), "--gitlab-version", version, "--output", str(file))
    return file


def publish(folder: Path, name: str, version: str = "17.4.0") -> str:
    return run("publish_docs_index", str(build(folder, name, version)))[0]


def fetch(*arguments: str) -> tuple[str, str]:
    return run("install_docs_index", "--from-registry", *arguments)


def answering(store: IndexStore) -> list[str]:
    return [passage.path for passage in search_docs(store, "board").passages]


def test_what_is_published_is_fetched_and_answers(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    told = publish(tmp_path, "one")

    installed, _ = fetch("--gitlab-version", "17.4.0")

    assert "GitLab 17.4.0" in told
    assert "DOCS_TRUSTED_KEYS" in told
    assert "GitLab 17.4.0: installed" in installed
    assert answering(store) == ["doc/one.md"]
    assert store.origin_of(VERSION) == "registry"


def test_an_index_is_found_by_deploy_token_too(
    registry: PackageRegistryServer, store: IndexStore, settings: Settings, tmp_path: Path
) -> None:
    settings.DOCS_REGISTRY_TOKEN = registry.deploy_token
    publish(tmp_path, "one")

    fetch("--gitlab-version", "17.4.2")

    assert store.installed() == [VERSION]
    with pytest.raises(CommandError, match="is valid for this project.*read_api"):
        fetch()


def test_the_nearest_published_version_that_is_not_newer_is_taken(
    registry: PackageRegistryServer, settings: Settings, tmp_path: Path
) -> None:
    for number, version in enumerate(["16.11.0", "17.4.0", "17.4.1", "18.0.0"]):
        publish(tmp_path, f"page{number}", version)

    for wanted, chosen, is_warned in [
        ("17.4.1", "17.4.1", False),
        ("17.4.9-ee", "17.4.1", False),
        ("17.5.3", "17.4.1", True),
        ("17.3.9", "16.11.0", True),
    ]:
        settings.DATA_DIR = tmp_path / wanted
        _, warnings = fetch("--gitlab-version", wanted)

        assert [*map(str, IndexStore.below(settings.DATA_DIR).installed())] == [chosen], wanted
        assert (f"this is {chosen}'s" in warnings) == is_warned, wanted


def test_a_newer_version_is_never_taken_unasked(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    publish(tmp_path, "one", "18.0.0")

    with pytest.raises(CommandError, match=r"published: 18\.0\.0"):
        fetch("--gitlab-version", "17.4.0")

    assert store.installed() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("truncated", "broke the connection|Only"),
        ("redirect", "proxy_download"),
        ("gone", "404"),
        ("too_long", "longer than"),
    ],
)
def test_a_failed_download_is_told_and_the_old_index_answers(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path, fault: Fault, told: str
) -> None:
    publish(tmp_path, "old")
    fetch()
    publish(tmp_path, "new")
    registry.fault = fault

    with pytest.raises(CommandError, match=told) as failed:
        fetch("--gitlab-version", "17.4.0")

    assert failed.value.returncode == 1
    assert answering(store) == ["doc/old.md"]


def test_bytes_changed_in_the_registry_are_rejected(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    publish(tmp_path, "one")
    ((name, content),) = (
        (name, content)
        for name, content in registry.files["17.4.0"].items()
        if name.endswith("sqlite3")
    )
    registry.files["17.4.0"][name] = content[:-1] + bytes([content[-1] ^ 1])

    with pytest.raises(CommandError, match="not those that were signed"):
        fetch()

    assert store.installed() == []


def test_a_list_of_many_pages_is_read_to_its_end(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    registry.page_size = 1
    for number, version in enumerate(["17.4.0", "16.11.0", "17.3.0"]):
        publish(tmp_path, f"page{number}", version)

    fetch("--gitlab-version", "17.3.5")

    assert [*map(str, store.installed())] == ["17.3.0"]


def test_what_lies_on_disk_of_a_download_is_checked_with_the_rest(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    publish(tmp_path, "one")
    place = docs_registry_from_settings()
    assert place
    manifest = Manifest.parse(registry.files["17.4.0"]["manifest.json"])
    for forged in (b"forged", bytes(manifest.size), bytes(manifest.size + 1)):
        partial = store.partial_path(manifest)
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(forged)

        with pytest.raises(CommandError, match="not those that were signed"):
            fetch()

        assert store.installed() == []
        assert not partial.exists()
    fetch()
    assert answering(store) == ["doc/one.md"]


@pytest.mark.parametrize("then", [None, "no_ranges"])
def test_a_killed_download_goes_on_where_it_ended(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path, then: Fault | None
) -> None:
    def kill(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    publish(tmp_path, "one")
    registry.fault = "stalled"
    place = docs_registry_from_settings()
    assert place
    with pytest.raises(KeyboardInterrupt), open_registry(place) as opened:
        install_published(store, opened, VERSION, place.trusted_keys, on_bytes=kill)
    assert answering(store) == []
    registry.fault = then

    fetch()

    first, second = registry.downloads()
    assert "bytes=" not in first
    assert "bytes=" in second
    assert answering(store) == ["doc/one.md"]


def test_a_bad_token_is_told_and_not_shown(
    registry: PackageRegistryServer, settings: Settings, tmp_path: Path
) -> None:
    settings.DOCS_REGISTRY_TOKEN = "glpat-SENTINEL"

    with pytest.raises(CommandError, match="DOCS_REGISTRY_TOKEN") as failed:
        publish(tmp_path, "one")

    assert "SENTINEL" not in str(failed.value)


def test_a_metadata_address_is_never_dialled(
    registry: PackageRegistryServer, settings: Settings
) -> None:
    settings.DOCS_REGISTRY_URL = "http://169.254.169.254/api/v4/projects/42/packages"

    with pytest.raises(CommandError, match="never dialled"):
        fetch()


def test_misuse_exits_2(registry: PackageRegistryServer, settings: Settings) -> None:
    misuses: list[tuple[list[str], dict[str, Any]]] = [
        (["install_docs_index", "--from-registry", "--gitlab-version", "latest"], {}),
        (["install_docs_index", "x.sqlite3", "--gitlab-version", "17.4.0"], {}),
        (["install_docs_index", "--from-registry"], {"DOCS_REGISTRY_URL": ""}),
        (["publish_docs_index", "x.sqlite3"], {"DOCS_TRUSTED_KEYS": ["x"]}),
    ]
    for arguments, wrong in misuses:
        for name, value in {"DOCS_REGISTRY_URL": registry.url, **wrong}.items():
            setattr(settings, name, value)

        with pytest.raises(CommandError) as refused:
            run(*arguments)

        assert refused.value.returncode == 2, arguments


def test_a_setting_that_cannot_be_is_told_by_its_name(
    registry: PackageRegistryServer, settings: Settings
) -> None:
    settings.DOCS_REGISTRY_URL = "ftp://x"

    with pytest.raises(SettingInvalid, match="DOCS_REGISTRY_URL"):
        run("publish_docs_index", "x.sqlite3")


def test_an_index_carried_in_by_hand_is_installed_and_rolled_back(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    run("install_docs_index", str(build(tmp_path, "old")))
    run("install_docs_index", str(build(tmp_path, "new")))
    assert answering(store) == ["doc/new.md"]

    told, _ = run("install_docs_index", "--rollback")

    assert "17.4.0" in told
    assert answering(store) == ["doc/old.md"]
    assert registry.asked == []


@pytest.mark.parametrize(
    ("status", "told"),
    [(400, "allow duplicates"), (403, "write_package_registry"), (413, "limit"), (500, "own log")],
)
def test_a_refused_upload_is_told_with_what_to_change(
    registry: PackageRegistryServer, tmp_path: Path, status: int, told: str
) -> None:
    registry.refuses_uploads = status

    with pytest.raises(CommandError, match=f"{status}: .*{told}") as refused:
        publish(tmp_path, "one")

    assert refused.value.returncode == 1
    assert not any(registry.files.values())


def test_what_is_published_is_checked_first(
    registry: PackageRegistryServer, tmp_path: Path
) -> None:
    file = build(tmp_path, "one")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CommandError, match="not those that were signed"):
        run("publish_docs_index", str(file))
    manifest_path(file).unlink()
    with pytest.raises(CommandError, match="Carry it along"):
        run("publish_docs_index", str(file))

    assert registry.asked == []


async def upkeep(store: IndexStore, *wanted: GitLabVersion | None, rounds: int = 1) -> list[Look]:
    """Do what a worker does every minute; return what it reports."""
    place = docs_registry_from_settings()
    assert place
    looks: list[Look] = []
    keeper = DocsUpkeep(place, store, lambda: wanted, UrlPolicy(), looks.append)
    for _ in range(rounds):
        assert 50 < await keeper.round() < 70
    await keeper.aclose()
    return looks


async def test_a_worker_follows_what_is_published(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")
    await upkeep(store, VERSION, rounds=2)
    assert answering(store) == ["doc/one.md"]

    await asyncio.to_thread(publish, tmp_path, "two")
    await upkeep(store, None)

    assert answering(store) == ["doc/two.md"]
    assert len(registry.downloads()) == 2


async def test_a_worker_says_that_it_took_an_older_release(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")

    (*_, taken) = await upkeep(store, GitLabVersion(17, 5, 0), rounds=2)

    assert (taken.state, taken.gitlab_version) == ("current", "17.4.0")
    assert taken.message == "No documentation of GitLab 17.5.0 is published; this is 17.4.0's."


async def test_two_workers_install_an_index_once(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")

    await asyncio.gather(upkeep(store, VERSION), upkeep(store, VERSION))

    assert answering(store) == ["doc/one.md"]
    assert len(registry.downloads()) == 1


async def test_a_worker_leaves_a_rolled_back_index_alone_until_another_is_published(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        await asyncio.to_thread(publish, tmp_path, name)
        await upkeep(store, VERSION)
    store.rollback(VERSION)
    (*_, left) = await upkeep(store, VERSION)
    assert answering(store) == ["doc/one.md"]
    assert left.state == "kept"
    assert "rolled back" in left.message

    await asyncio.to_thread(publish, tmp_path, "three")
    await upkeep(store, VERSION)

    assert answering(store) == ["doc/three.md"]


async def test_a_worker_outlives_a_registry_that_fails(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")
    registry.fault = "truncated"
    await upkeep(store, VERSION, GitLabVersion(16, 0, 0))
    registry.fault = None

    await upkeep(store, VERSION)

    assert answering(store) == ["doc/one.md"]


async def test_an_older_manifest_played_back_is_not_taken(
    registry: PackageRegistryServer, store: IndexStore, settings: Settings, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "old")
    older = dict(registry.files["17.4.0"])
    newer = await asyncio.to_thread(build, tmp_path, "new")
    key = load_signing_key(settings.DOCS_SIGNING_KEY)
    sign_index(newer, VERSION, key, now=datetime.now(UTC) + timedelta(hours=1))
    await asyncio.to_thread(run, "publish_docs_index", str(newer))
    await upkeep(store, VERSION)
    registry.files["17.4.0"] = older

    with structlog.testing.capture_logs() as logged:
        (*_, left) = await upkeep(store, VERSION, rounds=2)

    assert answering(store) == ["doc/new.md"]
    assert (left.state, left.gitlab_version) == ("kept", "17.4.0")
    assert "It is not taken" in left.message
    assert [(event["event"], event["reason"]) for event in logged] == [
        ("docs_index.not_installed", left.message)
    ]
    with pytest.raises(CommandError, match="--allow-downgrade"):
        await asyncio.to_thread(fetch)


async def test_a_worker_that_is_stopped_lets_go_of_a_download(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")
    registry.fault = "stalled"
    place = docs_registry_from_settings()
    assert place
    keeper = DocsUpkeep(place, store, lambda: [VERSION], UrlPolicy())
    round_ = asyncio.create_task(keeper.round())
    assert await asyncio.to_thread(registry.is_stalled.wait, 10)

    await keeper.aclose()

    await round_
    assert await asyncio.to_thread(registry.is_let_go.wait, 10)
    assert answering(store) == []


async def test_a_worker_looks_at_once_when_asked_and_reports_how_it_goes(
    registry: PackageRegistryServer, store: IndexStore, tmp_path: Path
) -> None:
    await asyncio.to_thread(publish, tmp_path, "one")
    place = docs_registry_from_settings()
    assert place
    looks: list[Look] = []
    keeper = DocsUpkeep(place, store, lambda: [VERSION], UrlPolicy(), looks.append)
    await asyncio.to_thread(keeper.look_now)

    assert await keeper.follow() == 0

    await keeper.aclose()
    (first, *_, fetched, last) = looks
    assert [look.state for look in (first, fetched, last)] == ["looking", "fetching", "current"]
    assert fetched.received_bytes == fetched.total_bytes > 0
    assert last.gitlab_version == "17.4.0"
