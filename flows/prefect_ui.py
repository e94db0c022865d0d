"""Prefect's server of `tunesmith up`, whose UI lets a browser talk to this machine alone.

    python -m flows.prefect_ui PORT

With Prefect's analytics off its UI still asks a service of theirs for settings, from the browser of
whoever looks at it. A Content-Security-Policy keeps the browser from that; all else is the
application that `prefect server start` runs.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flows.processes import HOST

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Any, Send], Awaitable[None]]


def restrict(application: Application, port: int) -> Application:
    """The same application, whose answers keep a browser from every host but this one.

    Args:
        application: An ASGI application.
        port: Where it is served.
    """
    own = f"'self' http://{HOST}:{port} ws://{HOST}:{port}"
    policy = f"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src {own}"
    header = (b"content-security-policy", policy.encode())

    async def restricted(scope: Message, receive: Any, send: Send) -> None:
        async def send_restricted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        await application(scope, receive, send_restricted)

    return restricted


def serve(port: int) -> None:
    """Serve Prefect's API and UI, with all of its services, until told to stop."""
    import uvicorn
    from prefect.server.api.server import create_app

    application: Any = create_app(final=True)
    uvicorn.run(restrict(application, port), host=HOST, port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
