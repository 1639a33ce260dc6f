"""The queue that carries job ids to the worker: Huey on queue.sqlite, or on Redis where CARS_REDIS_URL is set.

The records say what each job is and how it stands; the queue only says "look at this one". So an id that is queued
twice does no harm (the second claim fails), and one that is lost is found again when a worker starts or is idle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from ..errors import MissingDependency, SettingError
from ..provenance import digest
from ..workspace import Workspace

REDIS_URL = "CARS_REDIS_URL"


def open_queue(workspace: Workspace, run: Callable[[str], None] | None = None) -> tuple[Any, Callable[[str], Any]]:
    """The workspace's Huey, and the function that puts a job id on it.

    Args:
        run: what the consumer does with an id; only the worker needs it.

    Raises: MissingDependency when Redis is wanted and its client is absent; SettingError for a wrong address.
    """
    from huey import RedisHuey, SqliteHuey
    from huey.exceptions import ConfigurationError
    from huey.registry import Message
    from huey.serializer import Serializer

    class JsonSerializer(Serializer):
        """Messages as JSON. Huey's default is pickle, which would run code hidden in somebody else's workspace."""

        def _serialize(self, data: Message) -> bytes:
            return json.dumps(list(data)).encode()

        def _deserialize(self, data: bytes) -> Message:
            return Message(*json.loads(bytes(data)))

    options: dict[str, Any] = {"results": False, "serializer": JsonSerializer()}
    url = os.environ.get(REDIS_URL)
    if url:
        try:
            # workspaces share a Redis, so each has its own list
            huey = RedisHuey(f"cars-{digest(str(workspace.path), length=12)}", url=url, **options)
        except (ImportError, ConfigurationError) as error:
            raise MissingDependency(
                f"{REDIS_URL} is set but the Redis client is not installed.", "Run `pip install redis`, or unset it."
            ) from error
        except ValueError as error:
            raise SettingError(f"{REDIS_URL} is not an address: {error}.", "Use redis://HOST:6379/0.") from None
    else:
        file = str(workspace.path / "queue.sqlite")
        huey = SqliteHuey("cars", filename=file, strict_fifo=True, timeout=30, **options)

    @huey.task(name="run_job")
    def task(job_id: str) -> None:
        if run is not None:
            run(job_id)

    return huey, task


def enqueue(workspace: Workspace, *job_ids: str) -> None:
    """Tell the worker to look at these jobs."""
    if not job_ids:
        return
    huey, task = open_queue(workspace)
    try:
        for job_id in job_ids:
            task(job_id)
    finally:
        huey.storage.close()
