"""Whoever creates a run wakes the serving process."""

import asyncio

from tasks import wakes
from tasks.planning import STATE
from tasks.wakes import answer_wakes, wake


def test_each_touch_leads_to_one_question(tmp_path, monkeypatch):
    """Those before it listened do not count; a question that fails ends nothing."""
    monkeypatch.setattr(wakes, "LOOKING", 0.001)
    (tmp_path / STATE).mkdir()
    wake(tmp_path)
    asked = []

    async def ask():
        asked.append(len(asked))
        if len(asked) == 1:
            raise OSError("the server is away")

    async def listen():
        listening = asyncio.create_task(answer_wakes(tmp_path, ask))
        await asyncio.sleep(0.05)
        assert asked == []
        for number in range(3):
            wake(tmp_path)
            while len(asked) <= number:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        listening.cancel()

    asyncio.run(asyncio.wait_for(listen(), 20))
    assert asked == [0, 1, 2]


def test_where_no_project_is_nothing_is_written(tmp_path):
    """A folder that has no state stays as it is."""
    wake(tmp_path)
    assert list(tmp_path.iterdir()) == []
