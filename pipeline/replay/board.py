"""What stands in the topic `jobs`: jobs, what people want of them, how they ended, and the groups that are held back for a reset.

Each key has one kind of writer, and each value is whole, so that compaction loses nothing and no writer undoes another's word.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import orjson

from pipeline.replay.jobs import Job, State, decode_job, encode_job

TOPIC: Final = "jobs"
HOLD_MS: Final = 60_000
"""How long a group is held back unless its holder says that it is done: a command that dies holds nobody for ever."""

Wanted = Literal["running", "paused", "cancelled"]


class Board:
    """The topic, folded record by record.

    Attributes:
        jobs: Jobs by id, in the order in which they were made.
        holds: Until when groups are held back, in milliseconds since the epoch, by group without prefix.
        resets: When offsets were set on purpose, in milliseconds since the epoch, by group without prefix: the accounts tell that from a fault.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.holds: dict[str, int] = {}
        self.resets: dict[str, list[int]] = {}
        self._wanted: dict[str, Wanted] = {}
        self._done: set[str] = set()

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Take the next record.

        Args:
            key: Its key.
            value: Its value; None takes the key's former value away.

        Returns:
            Whether it was one of ours.
        """
        kind, _, name = (key or b"").decode("utf-8", "replace").partition("/")
        try:
            body = None if value is None else orjson.loads(value)
            return self._take(kind, name, body)
        except (ValueError, KeyError, TypeError):
            return False

    def _take(self, kind: str, name: str, body: Any) -> bool:  # noqa: ANN401 (any JSON value)
        if kind == "hold":
            if body is None:
                self.holds.pop(name, None)
            else:
                self.holds[name] = int(body["until"])
        elif kind == "reset" and body is not None:
            self.resets.setdefault(name.rpartition("/")[0], []).append(int(body["at"]))
        elif kind == "job" and body is not None:
            job = decode_job(body)
            if job.id != name:
                return False
            self.jobs.setdefault(name, job)
        elif kind == "wanted" and body is not None and body["state"] in get_args(Wanted):
            if self._wanted.get(name) != "cancelled":
                self._wanted[name] = body["state"]
        elif kind == "done" and body is not None:
            self._done.add(name)
        else:
            return False
        return True

    def state(self, job: str) -> State:
        """Give a job's state.

        Args:
            job: Its id.

        Returns:
            `running` for one of which nobody wants anything else.
        """
        wanted = self._wanted.get(job, "running")
        return "done" if job in self._done and wanted != "cancelled" else wanted

    def running(self) -> list[Job]:
        """List the jobs that are to be worked on."""
        return [job for job in self.jobs.values() if self.state(job.id) == "running"]

    def held(self, now_ms: int) -> frozenset[str]:
        """List the groups that are held back.

        Args:
            now_ms: The present, milliseconds since the epoch.

        Returns:
            Group names without prefix.
        """
        return frozenset(group for group, until in self.holds.items() if until > now_ms)


def job_record(job: Job) -> tuple[bytes, bytes]:
    """Give key and value of the record that declares a job."""
    return f"job/{job.id}".encode(), encode_job(job)


def wanted_record(job: str, state: State, at_ms: int) -> tuple[bytes, bytes]:
    """Give key and value of the record that says what a person wants of a job."""
    return f"wanted/{job}".encode(), orjson.dumps({"state": state, "at": at_ms})


def done_record(job: str, at_ms: int) -> tuple[bytes, bytes]:
    """Give key and value of the record that says that a job has come to its end."""
    return f"done/{job}".encode(), orjson.dumps({"at": at_ms})


def hold_record(group: str, until_ms: int | None) -> tuple[bytes, bytes | None]:
    """Give key and value of the record that holds a group back, or lets it go."""
    return f"hold/{group}".encode(), None if until_ms is None else orjson.dumps({"until": until_ms})


def reset_record(group: str, at_ms: int) -> tuple[bytes, bytes]:
    """Give key and value of the record that says that a group's offsets were set on purpose."""
    return f"reset/{group}/{at_ms}".encode(), orjson.dumps({"at": at_ms})


def group_of(job: str) -> str:
    """Name a job's consumer group, without prefix."""
    return f"replay.{job}"


def job_of(group: str) -> str:
    """Give the job of a consumer group without prefix; empty where it is none's."""
    kind, _, job = group.partition(".")
    return job if kind == "replay" else ""
