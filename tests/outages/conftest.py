"""The main job's fixtures: what these tests take away and give back is theirs alone."""

from tests.e2e.conftest import first, one_server, prefect_server, project

__all__ = ["first", "one_server", "prefect_server", "project"]
