"""Access control: only requests with the token, to this host and from the viewer's page reach the routes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",  # slices of patients must not be left in the browser's cache on disk
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
REFUSED = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>ildfv view</title>"
    "<h1>This address is not valid</h1><p>Open the address that <code>ildfv view</code> printed, with its token. "
    "Each start of the viewer creates a new token.</p></html>"
)


class Guard:
    """An ASGI application that passes requests under /<token>/ to `app`, without that prefix, and refuses others.

    hosts: the accepted Host headers. Other names that resolve to this machine are refused, because a web page can make
    its own name resolve to 127.0.0.1.
    """

    def __init__(self, app: App, token: str, hosts: set[str]):
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        known = secrets.compare_digest(first.encode(), self.token.encode())
        own_host = headers.get("host", "") in self.hosts
        origin = headers.get("origin")
        own_origin = origin is None or origin.removeprefix("http://") in self.hosts
        if not (known and own_host and own_origin):
            await _respond(send, 403, REFUSED.encode())
            return
        if scope["path"] == f"/{self.token}":
            await _respond(send, 308, b"", {"location": f"/{self.token}/"})
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in present
                ]
            await send(message)

        await self.app(
            {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}, receive, with_headers
        )


async def _respond(send: Send, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
    headers = {"content-type": "text/html; charset=utf-8", "content-length": str(len(body)), **HEADERS, **(more or {})}
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})
