"""A registered model in a process of its own, asked table by table; no pickle passes between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from finetuning.errors import TunesmithError
from finetuning.progress import QUIET
from tasks.scorers import Scorer

if TYPE_CHECKING:
    import pyarrow

STOPPING = 30  # seconds that the process may take to end once nothing more is asked
_PROCESS = Path(__file__).with_name("pyfunc_worker.py")
_SAID = 3  # last lines of what a process that died has said


@dataclass
class Worker:
    """The process; it begins with the first table, so that none is needed where all is answered.

    has_answered: whether the model has taken any row of the job yet. loading: seconds that it took
    to load.
    """

    scorer: Scorer
    parameters: Mapping[str, Any]
    place: Path
    has_answered: bool = False
    loading: float = 0.0
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    def ask(self, table: pyarrow.Table) -> tuple[pyarrow.Table | None, dict[int, str]]:
        """Let the model answer some rows.

        Returns:
            The answers to the rows that it took, in their order, None where it took none; place of
            each of the others -> what it raised.

        Raises:
            TunesmithError: It does not load, or its process died.
        """
        import pyarrow.parquet

        rows, answers = self.place / "rows.parquet", self.place / "answers.parquet"
        answers.unlink(missing_ok=True)
        pyarrow.parquet.write_table(table, rows)
        self._begin()
        reply = self._talk({"rows": str(rows), "answers": str(answers)})
        faults = {int(at): str(why) for at, why in reply["faults"].items()}
        return pyarrow.parquet.read_table(answers) if answers.exists() else None, faults

    def _begin(self) -> None:
        if self.process is not None:
            return
        started = time.monotonic()
        # The run's own experiment and run are none of the model's business.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_RUN")
        } | {QUIET: "1"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                # Not -m: the project's own modules must not stand before those of the model.
                [sys.executable, "-P", str(_PROCESS)],
                cwd=self.place,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        request = {
            "uri": self.scorer.uri,
            "tracking_uri": self.scorer.tracking_uri,
            "parameters": dict(self.parameters),
        }
        reply = self._talk(request)
        if "error" in reply:
            raise TunesmithError(f"{self.scorer.label} does not load: {reply['error']}")
        self.loading = time.monotonic() - started

    def _talk(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        asked, replied = _streams(self.process)
        try:
            asked.write(json.dumps(request) + "\n")
            asked.flush()
            return dict(json.loads(replied.readline()))
        except (OSError, ValueError):
            code = self.process.wait()
            said = self._log.read_text("utf-8", "replace").splitlines()[-_SAID:]
            raise TunesmithError(
                f"the process of {self.scorer.label} ended with code {code}: "
                f"{' '.join(said)[:500]}. The same command goes on from what is kept"
            ) from None

    def end(self) -> None:
        """Let the process end, or end it."""
        if self.process is None:
            return
        for stream in _streams(self.process):
            try:
                stream.close()
            except OSError:  # it died with something still unread
                continue
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def _log(self) -> Path:
        return self.place / "log"


def _streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def open_worker(scorer: Scorer, parameters: Mapping[str, Any]) -> Iterator[Worker]:
    """A worker that ends with the context."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        worker = Worker(scorer, parameters, Path(folder))
        try:
            yield worker
        except BaseException:
            if worker.process is not None:
                worker.process.kill()  # it may be in the middle of a long answer
            raise
        finally:
            worker.end()
