"""What every request must pass, and what every answer carries."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {
    b"content-security-policy": PAGE_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cache-control": b"no-store",
}


@final
class Guard:
    """Refuse requests that reach this server under a foreign name; add headers that keep pages in.

    A page elsewhere can have its own name point to 127.0.0.1 and then read what is served there.
    The ``Host`` header gives it away: it holds that name. Numbers and ``localhost`` cannot be
    pointed elsewhere.

    Args:
        app: What answers.
        names: Further names that are ours.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS.items() if name not in own]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and is_ours(hosts[0].decode("latin-1"), self._names):
            await self._app(scope, receive, send_guarded)
            return
        from starlette.responses import PlainTextResponse

        words = "fitwell ui: open it as http://localhost with its port, or under its address.\n"
        await PlainTextResponse(words, status_code=421)(scope, receive, send_guarded)


def is_ours(host: str, names: frozenset[str] = frozenset()) -> bool:
    """Say whether a ``Host`` header is an address, ``localhost`` or one of some names.

    Args:
        host: The header, with or without a port.
        names: The names, in lower case.
    """
    name, _, port = host.lower().rpartition(":")
    if not name or not port.isdecimal():  # without a port
        name = host.lower()
    name = name.removesuffix(".")
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    inner = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ipaddress.ip_address(inner)
    except ValueError:
        return False
    return True
