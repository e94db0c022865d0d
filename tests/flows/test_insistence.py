"""Requests are tried again where the server's database was busy."""

import asyncio

from flows import insistence
from flows.insistence import BUSY, TRIES, insist


def ask(statuses, parts=(b"one", b"two")):
    """What an application is given that answers with these statuses, and what is sent of it."""
    given, sent, waiting = [], [], list(statuses)
    messages = [
        {"type": "http.request", "body": part, "more_body": part != parts[-1]} for part in parts
    ]

    async def application(scope, receive, send):
        assert "seen" not in scope
        scope["seen"] = True
        given.append((await receive())["body"])
        status = waiting.pop(0)
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": str(status).encode()})
        if status == BUSY and waiting:
            raise OSError("database is locked")  # as Starlette does, after the answer

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(insist(application)({"type": "http"}, receive, send))
    return given, [message.get("status") or message["body"] for message in sent]


def test_a_request_is_tried_again_while_the_database_is_busy(monkeypatch):
    """The whole body each time, and one answer; any other status is the answer."""
    monkeypatch.setattr(insistence, "PAUSE", 0.0)
    assert ask([BUSY, BUSY, 201]) == ([b"onetwo"] * 3, [201, b"201"])
    assert ask([404, 200]) == ([b"onetwo"], [404, b"404"])
    assert ask([BUSY] * TRIES) == ([b"onetwo"] * TRIES, [BUSY, b"503"])
