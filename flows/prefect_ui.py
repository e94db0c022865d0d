"""Prefect's server of `tunesmith up`, whose UI lets a browser talk to this machine alone.

    python -m flows.prefect_ui PORT HOST

Where its database was busy with another writer a request is tried again here, after a moment;
Prefect's clients would wait for two seconds first.

With Prefect's analytics off its UI still asks a service of theirs for settings, from the browser of
whoever looks at it. A Content-Security-Policy keeps the browser from that; all else is the
application that `prefect server start` runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

API = "PREFECT_SERVER_UI_API_URL"  # in the environment: where a browser finds the API
BUSY = 503  # what Prefect's API answers where a transaction could not be had, and was undone
TRIES, PAUSE = 10, 0.05  # of a request that was answered so, and seconds between two

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Any, Send], Awaitable[None]]


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


def insist(application: Application) -> Application:
    """The same application, which tries a request again where its database was busy."""

    async def insisting(scope: Message, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        body = await _read_body(receive)
        for left in reversed(range(TRIES)):
            if await _try(application, scope, (body, receive), send, is_last=not left):
                return
            await asyncio.sleep(PAUSE)

    return insisting


async def _try(
    application: Application, scope: Message, given: tuple[Message, Any], send: Send, is_last: bool
) -> bool:
    """Whether the application answered; where it was busy, nothing of its answer is sent."""
    body, receive = given
    asked, is_busy = [body], False

    async def repeat() -> Message:
        return asked.pop() if asked else await receive()

    async def answer(message: Message) -> None:
        nonlocal is_busy
        is_busy = is_busy or (not is_last and message.get("status") == BUSY)
        if not is_busy:
            await send(message)

    try:
        await application(dict(scope), repeat, answer)
    except Exception:  # the error that it was busy for, which Starlette raises after the answer
        if not is_busy:
            raise
    return not is_busy


async def _read_body(receive: Any) -> Message:
    content, message = b"", await receive()
    while message["type"] == "http.request":
        content += message.get("body", b"")
        if not message.get("more_body"):
            return {"type": "http.request", "body": content, "more_body": False}
        message = await receive()
    return dict(message)  # whoever asked has gone


def serve(port: int, host: str) -> None:
    """Serve Prefect's API and UI, with all of its services, until told to stop."""
    import uvicorn
    from prefect.server.api.server import create_app

    application: Any = create_app(final=True)
    restricted = insist(restrict(application, os.environ[API]))
    uvicorn.run(restricted, host=host, port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
