"""Requests to Prefect's server are tried again in the server where its database was busy.

SQLite has one writer. Prefect's API answers 503 to whom another one kept waiting, and its clients
wait for two seconds before they ask again; a run's own client asks only so many times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BUSY = 503  # what Prefect's API answers where a transaction could not be had, and was undone
TRIES, PAUSE = 10, 0.05  # of a request that was answered so, and seconds between two

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Any, Send], Awaitable[None]]


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
