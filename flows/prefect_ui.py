"""Prefect's server of `tunesmith up`, whose UI lets a browser talk to this machine alone.

    python -m flows.prefect_ui PORT HOST

With Prefect's analytics off its UI still asks a service of theirs for settings, from the browser of
whoever looks at it. A Content-Security-Policy keeps the browser from that; all else is the
application that `prefect server start` runs.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flows.garbage import collect_apart
from flows.insistence import Application, Message, Send, insist

API = "PREFECT_SERVER_UI_API_URL"  # in the environment: where a browser finds the API


def restrict(application: Application, address: str) -> Application:
    """The same application, whose answers keep a browser from every host but this one.

    Args:
        application: An ASGI application.
        address: Where a browser finds its API, such as http://127.0.0.1:4200/api.
    """
    scheme, _, rest = address.partition("://")
    place = rest.partition("/")[0]
    own = f"'self' {scheme}://{place} {scheme.replace('http', 'ws')}://{place}"
    policy = f"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src {own}"
    header = (b"content-security-policy", policy.encode())

    async def restricted(scope: Message, receive: Any, send: Send) -> None:
        async def send_restricted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        await application(scope, receive, send_restricted)

    return restricted


def serve(port: int, host: str) -> None:
    """Serve Prefect's API and UI, with all of its services, until told to stop."""
    import uvicorn
    from prefect.server.api.server import create_app

    application: Any = create_app(final=True)
    collect_apart()
    restricted = insist(restrict(application, os.environ[API]))
    uvicorn.run(restricted, host=host, port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
