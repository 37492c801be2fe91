"""The server: uvicorn on 127.0.0.1, until it is interrupted."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

from ildfv.errors import InputError
from ildfv.viewer.study import Study

HOST = "127.0.0.1"  # no other interface: slices of patients must not be readable from the network
TOKEN_BYTES = 24
SHUTDOWN = 1  # seconds for open requests when the server ends


def serve(study: Study, *, port: int = 0, ready: Callable[[str], None]) -> None:
    """Serves the study until SIGINT or SIGTERM. ready: called with the address, which contains a new token.

    port: 0 selects any free port. InputError: the port is in use or reserved.
    """
    import uvicorn

    from ildfv.viewer.app import application

    # asyncio sets TCP_NODELAY only if the protocol is stated. Without it, each small response takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--port must be a free port on {HOST}, got {port} ({error}): omit --port to use any free port"
            ) from error
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(TOKEN_BYTES)
        app = application(study, token, {f"{HOST}:{port}", f"localhost:{port}"})
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_level="warning",
            access_log=False,  # would contain the token
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN,
        )
        listener.listen()  # a browser that connects before uvicorn has started waits instead of failing
        try:
            ready(f"http://{HOST}:{port}/{token}/")
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # Ctrl-C is the normal way to stop the viewer
            return
