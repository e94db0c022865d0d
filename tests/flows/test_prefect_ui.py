"""Prefect's server as `up` serves it: a browser that looks at it talks to this machine alone."""

import asyncio

from flows import prefect_ui
from flows.prefect_ui import BUSY, TRIES, insist, restrict

ADDRESS = "http://127.0.0.1:4200/api"


def test_every_answer_keeps_the_browser_here():
    """The policy stands beside the answer's own headers, and names this host and port alone."""

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"page"})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(restrict(application, ADDRESS)({"type": "http"}, None, send))
    begin, body = sent
    headers = dict(begin["headers"])
    assert headers[b"a"] == b"b"
    policy = headers[b"content-security-policy"].decode()
    assert policy.endswith("connect-src 'self' http://127.0.0.1:4200 ws://127.0.0.1:4200")
    assert "http" not in policy.partition("connect-src")[0]
    assert body == {"type": "http.response.body", "body": b"page"}


def test_what_is_no_answer_passes_as_it_is():
    """The application's beginning and end, and web sockets, are none of the policy's business."""
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])
        await send({"type": "lifespan.startup.complete"})

    async def send(message):
        seen.append(message)

    asyncio.run(restrict(application, ADDRESS)({"type": "lifespan"}, None, send))
    assert seen == ["lifespan", {"type": "lifespan.startup.complete"}]


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
    monkeypatch.setattr(prefect_ui, "PAUSE", 0.0)
    assert ask([BUSY, BUSY, 201]) == ([b"onetwo"] * 3, [201, b"201"])
    assert ask([404, 200]) == ([b"onetwo"], [404, b"404"])
    assert ask([BUSY] * TRIES) == ([b"onetwo"] * TRIES, [BUSY, b"503"])
