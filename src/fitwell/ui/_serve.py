"""Running the application until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from ..core.errors import UsageError, missing_extra

if TYPE_CHECKING:
    import uvicorn

    from ._feed import Feed

_PORTS_TRIED: Final = 100
_EVERYWHERE: Final = ("", "0.0.0.0", "::")


@final
class Site:
    """A server that is bound to its port and not yet answering.

    Args:
        folder: Where runs are kept.
        host: Address to answer on.
        port: Port to answer on; 0 takes any free one.
        interval: Seconds between two looks at the disk while a page is open.

    Raises:
        MissingExtra: The packages of the extra ``ui`` are not installed.
        UsageError: The port is taken, or the address is not of this machine.
    """

    def __init__(self, folder: str | Path, *, host: str, port: int, interval: float = 1.0) -> None:
        try:
            import starlette.applications  # noqa: F401
            import uvicorn
        except ImportError as err:
            package = (err.name or "uvicorn").partition(".")[0]
            raise missing_extra("ui", package, "ui") from err
        from ._app import create_app

        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.host = host
        names = {host, socket.gethostname()} if not _is_loopback(host) else {host}
        app = create_app(folder, names=sorted(names), interval=interval)
        settings = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = _server(settings, app.state.feed)

    @property
    def url(self) -> str:
        """Where to open it in a browser."""
        host = "localhost" if self.host in _EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self) -> None:
        """Answer until Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt), self._socket:
            self._server.run(sockets=[self._socket])

    def open(self) -> None:
        """Show it in the browser of this machine, in a moment."""
        timer = threading.Timer(0.5, webbrowser.open, [self.url])
        timer.daemon = True
        timer.start()

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Answer in a thread of this process as long as the block lasts; gives the address."""
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield self.url
        finally:
            self._server.should_exit = True
            thread.join()


def _server(settings: uvicorn.Config, feed: Feed) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends the streams of events first; it would wait for them."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            feed.close()
            await super().shutdown(sockets)

    return Server(settings)


def _bound(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"ui: `port` must lie between 0 and 65535; got {port}.")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _listening(family, address)
    except OSError as err:
        if err.errno == errno.EADDRINUSE:
            free = _next_free(family, address, port)
            hint = f" Use the next free one: --port {free}" if free else " Use another --port."
            raise UsageError(
                f"ui: `port` must be free; got {port}, which another program uses.{hint}"
            ) from err
        if err.errno == errno.EACCES:
            raise UsageError(
                f"ui: `port` must be one that you may use; got {port}. Use one above 1023."
            ) from err
        raise UsageError(
            f"ui: `host` must be an address of this machine; got {host!r}"
            f" ({err.strerror or err}). Use 127.0.0.1, or 0.0.0.0 for the whole network."
        ) from err


def _listening(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


def _next_free(family: int, address: Any, port: int) -> int | None:
    for other in range(port + 1, min(port + 1 + _PORTS_TRIED, 65536)):
        with contextlib.suppress(OSError), _listening(family, (address[0], other, *address[2:])):
            return other
    return None


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
