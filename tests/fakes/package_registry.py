"""A fake of GitLab's generic package registry, for one project.

with PackageRegistryServer() as registry:
    settings.DOCS_REGISTRY_URL, settings.DOCS_REGISTRY_TOKEN = registry.url, registry.token

It keeps what is uploaded, lists it, and serves it with ranges; it may also fail in the ways a
registry, or a proxy before it, does.
"""

import json
import re
import threading
from collections import defaultdict
from typing import Literal

from tests.fakes.loopback import Connection, LoopbackServer, Request, json_body, send_whole

PROJECT_PATH = "/api/v4/projects/42/packages"

# How downloads of an index fail: cut off in the middle, standing still there, sent on to another
# host, not found, with the whole file whatever range is asked for, longer than they should be.
Fault = Literal["truncated", "stalled", "redirect", "gone", "no_ranges", "too_long"]

_FILE = re.compile(re.escape(PROJECT_PATH) + r"/generic/([\w.-]+)/([\w.+-]+)/([\w.+-]+)")


class PackageRegistryServer(LoopbackServer):
    """The fake.

    Attributes:
        token: An access token that may do everything.
        deploy_token: One that may read and write files and not list packages.
        files: Content by package version and file name.
        fault: How downloads of an index fail; None works.
        page_size: Packages in one page of the list.
        refuses_uploads: Status that uploads are refused with; None takes them.
        is_stalled: Set once a download stands still.
        is_let_go: Set once the other side has closed it.
        asked: Method and path of each request so far, with its range if it had one.
    """

    token = "glpat-" + "a" * 20
    deploy_token = "gldt-" + "b" * 20

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.fault: Fault | None = None
        self.page_size = 100
        self.refuses_uploads: int | None = None
        self.is_stalled = threading.Event()
        self.is_let_go = threading.Event()
        self.asked: list[str] = []

    def base_url(self, origin: str) -> str:
        return origin + PROJECT_PATH

    def downloads(self) -> list[str]:
        """Return the requests for an index so far."""
        return [line for line in self.asked if line.startswith("GET") and ".sqlite3" in line]

    async def respond(self, request: Request, connection: Connection) -> None:
        self.asked.append(
            f"{request.method} {request.path} {request.headers.get('range', '')}".rstrip()
        )
        is_owner = request.headers.get("private-token") == self.token
        if not is_owner and request.headers.get("deploy-token") != self.deploy_token:
            send_whole(connection, b'{"message":"401 Unauthorized"}', status=401)
        elif request.path == PROJECT_PATH and is_owner:
            self._list(request, connection)
        elif found := _FILE.fullmatch(request.path):
            _package, version, name = found.groups()
            if request.method == "PUT" and self.refuses_uploads:
                send_whole(connection, b'{"message":"no"}', status=self.refuses_uploads)
            elif request.method == "PUT":
                self.files[version][name] = request.body
                send_whole(connection, b'{"message":"201 Created"}', status=201)
            else:
                await self._download(request, connection, self.files[version].get(name), name)
        else:
            send_whole(connection, b'{"message":"404 Not Found"}', status=404)

    def _list(self, request: Request, connection: Connection) -> None:
        packages = [
            {"name": "gitlab-docs", "version": version}
            for version, files in self.files.items()
            if files
        ]
        packages.append({"name": "gitlab-docs-more", "version": "99.0.0"})
        page = int(request.query.get("page", "1"))
        begins, ends = self.page_size * (page - 1), self.page_size * page
        headers = {"X-Next-Page": str(page + 1) if ends < len(packages) else ""}
        send_whole(connection, json_body(packages[begins:ends]), headers=headers)

    async def _download(
        self, request: Request, connection: Connection, content: bytes | None, name: str
    ) -> None:
        fault = self.fault if name.endswith(".sqlite3") else None
        if content is None or fault == "gone":
            send_whole(connection, json.dumps({"message": "404"}).encode(), status=404)
            return
        if fault == "redirect":
            elsewhere = {"Location": "http://objects.invalid/" + name}
            connection.send_head(302, elsewhere, content_length=0)
            return
        status, headers = 200, {"Content-Type": "application/octet-stream"}
        begins = request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        if begins != "0" and fault != "no_ranges":
            last = len(content) - 1
            status = 206
            headers["Content-Range"] = f"bytes {begins}-{last}/{len(content)}"
            content = content[int(begins) :]
        if fault == "too_long":
            content += bytes(1_000_000)
        connection.send_head(status, headers, content_length=len(content))
        if fault in {"truncated", "stalled"}:
            content = content[: len(content) // 2]
        connection.send(content)
        if fault == "stalled":
            self.is_stalled.set()
            await connection.peer_closed.wait()
            self.is_let_go.set()
        elif fault == "truncated":
            connection.close()
