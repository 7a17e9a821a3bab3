"""GitLab's generic package registry, where documentation indexes are published and fetched.

A package `gitlab-docs` has a version for each GitLab version, and two files in it: the manifest,
and the index, named by its hash, so that a manifest never meets the index of another.

Source: "GitLab generic packages repository" and "Packages API" of GitLab's documentation.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from docsearch.errors import IndexMissing, RegistryRefused, VersionInvalid
from docsearch.fetching import Answer, Call, Fetch
from docsearch.manifest import MAX_MANIFEST_BYTES, Manifest
from docsearch.store import Choice, choose_version
from docsearch.versions import GitLabVersion

PACKAGE = "gitlab-docs"
MANIFEST_FILE = "manifest.json"

_TOKEN_HEADERS = {"private-token": "PRIVATE-TOKEN", "deploy-token": "Deploy-Token"}
_TOKEN_HEADERS["job-token"] = "JOB-TOKEN"
#: How the tokens of GitLab begin unless its administrator changed that.
_TOKEN_PREFIXES = {"gldt-": "Deploy-Token", "glcbt-": "JOB-TOKEN"}
_PAGE_BYTES = 2 * 1024 * 1024
_MAX_PAGES = 20
#: Lower patches asked for one by one where the token may not list packages.
_MAX_PATCHES = 30


def token_header(token: str) -> dict[str, str]:
    """Return the header a token of GitLab's is sent in.

    Args:
        token: A personal, project or group access token, a deploy token or a CI job token. One
            whose kind its prefix does not tell is written with its header: `Deploy-Token: abc`.
    """
    name, separator, value = token.partition(":")
    if separator and name.strip().lower() in _TOKEN_HEADERS:
        return {_TOKEN_HEADERS[name.strip().lower()]: value.strip()}
    for prefix, header in _TOKEN_PREFIXES.items():
        if token.startswith(prefix):
            return {header: token}
    return {"PRIVATE-TOKEN": token} if token else {}


class PackageRegistry:
    """The generic packages of one project of a GitLab instance."""

    def __init__(self, fetch: Fetch, token: str = "") -> None:
        self._fetch = fetch
        self._headers = token_header(token)

    def choose(self, wanted: GitLabVersion | None) -> Choice:
        """Return the published version that answers for `wanted`, as `choose_version` does.

        A deploy token may fetch files and not list packages; then the same version and its lower
        patches are asked for one by one.

        Raises:
            IndexMissing: None is published that may.
            RegistryRefused: The registry does not let us look.
            ServerUnreachable: It cannot be asked.
        """
        published = self._published()
        if published is None:
            return self._choose_unlisted(wanted)
        choice = choose_version(wanted, published)
        if choice is None:
            versions = ", ".join(map(str, sorted(published))) or "none"
            of_which = f"of GitLab {wanted} or older " if wanted else ""
            raise IndexMissing(
                f"No documentation {of_which}is published in the package registry (published: "
                f"{versions}). Publish it with publish_docs_index, or ask for a published version "
                "with --gitlab-version."
            )
        return choice

    def manifest(self, version: GitLabVersion) -> bytes | None:
        """Return the manifest published for `version`, unverified; None if there is none."""
        with self._answer("GET", _path(version, MANIFEST_FILE), {200, 404}) as answer:
            return None if answer.status == 404 else _whole(answer, MAX_MANIFEST_BYTES)

    def index_parts(self, manifest: Manifest, held_bytes: int) -> Generator[bytes, None, None]:
        """Yield an index from its byte `held_bytes` on."""
        headers = {"Range": f"bytes={held_bytes}-"} if held_bytes else {}
        path = _path(manifest.version, _index_name(manifest))
        with self._answer("GET", path, {200, 206}, headers) as answer:
            skipped = held_bytes if answer.status == 200 else 0  # it does not know ranges
            for part in answer.parts:
                yield part[skipped:]
                skipped = max(0, skipped - len(part))

    def publish(self, manifest: Manifest, manifest_text: bytes, index: bytes) -> None:
        """Upload an index and then its manifest: whoever finds the manifest finds the index.

        Raises:
            RegistryRefused: The registry did not take it.
            ServerUnreachable: It cannot be asked.
        """
        for name, content in ((_index_name(manifest), index), (MANIFEST_FILE, manifest_text)):
            headers = {"Content-Type": "application/octet-stream"}
            path = _path(manifest.version, name)
            with self._answer("PUT", path, {200, 201}, headers, content):
                pass

    def _published(self) -> list[GitLabVersion] | None:
        """Return the versions that are published; None if the token may not list them."""
        versions = []
        page = "1"
        for _ in range(_MAX_PAGES):
            path = f"?package_type=generic&package_name={PACKAGE}&per_page=100&page={page}"
            with self._answer("GET", path, {200, 401, 403, 404}) as answer:
                if answer.status != 200:
                    return None
                versions += _versions_in(_whole(answer, _PAGE_BYTES))
                page = answer.headers.get("x-next-page", "")
            if not (page.isascii() and page.isdecimal()):
                break
        return versions

    def _choose_unlisted(self, wanted: GitLabVersion | None) -> Choice:
        if wanted is None:
            raise RegistryRefused(
                "The package registry does not let DOCS_REGISTRY_TOKEN list packages. Check that "
                "it is valid for this project. A deploy token may never list: with one, set "
                "GITLAB_VERSION or give --gitlab-version, or use a token with the scope read_api."
            )
        for patch in range(wanted.patch, max(-1, wanted.patch - _MAX_PATCHES), -1):
            version = GitLabVersion(wanted.major, wanted.minor, patch)
            if self.manifest(version) is not None:
                return Choice(version)
        raise IndexMissing(
            f"No documentation of GitLab {wanted.major}.{wanted.minor} up to {wanted} can be "
            "fetched with DOCS_REGISTRY_TOKEN. Publish it with publish_docs_index; check the "
            "project in DOCS_REGISTRY_URL and that the token is valid there; with the scope "
            "read_api it may also list what else is published."
        )

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        expected: set[int],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[Answer]:
        sent = {**self._headers, **(headers or {})}
        with self._fetch(Call(method, path, sent, body)) as answer:
            if answer.status not in expected:
                raise RegistryRefused(_refusal(answer.status, is_upload=method == "PUT"))
            yield answer


def _path(version: GitLabVersion, file: str) -> str:
    return f"/generic/{PACKAGE}/{version}/{file}"


def _index_name(manifest: Manifest) -> str:
    return f"{manifest.sha256}.sqlite3"


def _whole(answer: Answer, max_bytes: int) -> bytes:
    body = bytearray()
    for part in answer.parts:
        body += part
        if len(body) > max_bytes:
            raise RegistryRefused(
                f"The package registry answered with over {max_bytes:,} bytes where less was due. "
                "Check that DOCS_REGISTRY_URL is a project's packages URL."
            )
    return bytes(body)


def _versions_in(page: bytes) -> list[GitLabVersion]:
    try:
        packages: Any = json.loads(page)
        # The registry finds every name that holds ours.
        names = [package["version"] for package in packages if package["name"] == PACKAGE]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RegistryRefused(
            "The package registry did not answer with a list of packages. Check that "
            "DOCS_REGISTRY_URL ends in /api/v4/projects/<id>/packages."
        ) from error
    versions = []
    for name in names:
        try:
            versions.append(GitLabVersion.parse(str(name)))
        except VersionInvalid:
            continue  # another kind of thing under our name
    return versions


def _refusal(status: int, *, is_upload: bool) -> str:
    scope = "api or write_package_registry" if is_upload else "read_api or read_package_registry"
    advice = {
        401: f"set DOCS_REGISTRY_TOKEN to a token that is valid, with the scope {scope}",
        403: f"give DOCS_REGISTRY_TOKEN the scope {scope} and at least the role Developer",
        404: "check the project's id in DOCS_REGISTRY_URL, and that the token may see the project",
        413: "raise the instance's limit for generic package files",
        429: "it asks for fewer requests; try again in a minute",
    }.get(status, "see its own log and try again")
    if is_upload and status in {400, 403}:
        advice += (
            ". If the version is published already, allow duplicates of generic packages in the "
            "project's package settings"
        )
    if 300 <= status < 400:
        advice = (
            "a redirect is never followed. Write the final URL into DOCS_REGISTRY_URL; where "
            "GitLab sends downloads on to its object storage, turn on proxy_download for packages"
        )
    return f"The package registry answered {status}: {advice}."
