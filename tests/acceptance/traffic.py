"""What is sent to a run: calls of the real SDKs, records of other Kafka clients, and malformed input of each kind, all at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from tests.acceptance.checks import Checks
from tests.acceptance.installation import Installation, request
from tests.acceptance.malformed import BAD_ITEMS, BAD_RECORDS, BAD_VALUES, GOOD, ODD, ODD_STORED, REFUSED, Refusal
from tests.sdks import script
from tests.sdks.clients import CLIENTS, FOLDER, Client

PYTHON, NODE = (next(client for client in CLIENTS if client.folder == folder) for folder in ("segment_python", "segment_node"))
SUCCESS: Final = {"success": True}
_FOREIGN: Final[dict[str, Any]] = {
    "type": "track",
    "userId": "kafka",
    "event": "From Kafka",
    "messageId": "kafka-1",
    "properties": {"n": 2**53 + 1, "text": "日本"},
}
_GOOD_IN_BATCH: Final[dict[str, Any]] = {"type": "track", **GOOD, "messageId": "malformed-good"}


class Sent(NamedTuple):
    """What was sent to a run.

    Attributes:
        calls: What has to be stored, by message id.
        foreign: Records that were written to `raw` by others than the collector.
        duplicates: How many of all are copies of another.
    """

    calls: dict[str, script.Call]
    foreign: int
    duplicates: int


def send_all(one: Installation, node: Sequence[str], calls: int, folder: Path, checks: Checks) -> Sent:
    """Send everything.

    Args:
        one: The run.
        node: The command that sends with the JavaScript SDK.
        calls: How many SDK calls.
        folder: Folder for the calls.
        checks: Where answers are noted.

    Returns:
        What was sent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, str(FOLDER / PYTHON.folder / "send.py")]
    quarter = calls // 4
    sending = {
        "segment-analytics-python": _Sending(PYTHON, python, "python", quarter),
        "segment-analytics-python, gzip": _Sending(PYTHON, python, "compressed", quarter, "gzip"),
        "@segment/analytics-node": _Sending(NODE, node, "javascript", calls - 2 * quarter),
    }
    given = {name: script.calls(one_of.prefix, -(-one_of.calls // script.IN_A_ROUND))[: one_of.calls] for name, one_of in sending.items()}
    running = {name: one_of.start(f"http://127.0.0.1:{one.port}", folder, given[name]) for name, one_of in sending.items()}
    send_malformed(one.port, checks)
    foreign = send_to_raw(one)
    again = request(one.port, "POST", "/v1/track", orjson.dumps({**_FOREIGN, "writeKey": "demo"}))
    checks.equal("the same message by HTTP", (again.status, orjson.loads(again.body)), (200, SUCCESS))
    for name, process in running.items():
        printed, errors = process.communicate()
        checks.check(f"{name} reports no error", process.returncode == 0 and not printed, (printed + errors).decode()[-300:])
    stored = {call["messageId"]: kept for name, one_of in sending.items() for call in given[name] if (kept := one_of.client.kept(call)) is not None}
    checks.equal("calls sent by the SDKs", len(stored), calls)
    stored |= {message["messageId"]: message for message in (_FOREIGN, _GOOD_IN_BATCH)}
    stored |= {message_id: {"messageId": message_id, **fields} for message_id, fields in ODD_STORED.items()}
    return Sent(stored, foreign, duplicates=2)


class _Sending(NamedTuple):
    client: Client
    command: Sequence[str]
    prefix: str
    calls: int
    mode: str = ""

    def start(self, host: str, folder: Path, given: Sequence[script.Call]) -> subprocess.Popen[bytes]:
        file = folder / f"{self.prefix}.ndjson"
        script.write(file, given)
        command = [*self.command, host, "demo", str(file), "0", *([self.mode] if self.mode else [])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def send_malformed(port: int, checks: Checks) -> None:
    """Send malformed input of each kind and hold the answers to what is documented.

    Args:
        port: The collector's port.
        checks: Where answers are noted.
    """
    wrong = [case.name for case in REFUSED if not _is_refused(port, case)]
    checks.check(f"{len(REFUSED)} kinds of malformed requests get their documented answer", not wrong, ", ".join(wrong))
    items = [bad.item for bad in BAD_ITEMS[:4]] + [_GOOD_IN_BATCH] + [bad.item for bad in BAD_ITEMS[4:]]
    checks.equal(f"a batch with {len(BAD_ITEMS)} bad items is taken", _post(port, "/v1/batch", orjson.dumps({"batch": items})), (200, SUCCESS))
    answers = [_post(port, "/v1/batch", orjson.dumps({"batch": [bad.item]})) for bad in BAD_VALUES]
    checks.check(f"{len(BAD_VALUES)} events with values of a wrong type are taken", all(answer == (200, SUCCESS) for answer in answers))
    answers = [_post(port, "/v1/track", body) for body in ODD]
    checks.check(
        f"{len(ODD)} events of odd JSON are taken",
        all(answer == (200, SUCCESS) for answer in answers),
        str(answers) if len(set(map(str, answers))) > 1 else "",
    )


def send_to_raw(one: Installation) -> int:
    """Write to `raw` with kcat, without a key, and with another Kafka client, under a key.

    Args:
        one: The run.

    Returns:
        How many records were written.
    """
    run = one.run
    topic = f"{run['workspace']}.raw"
    event = orjson.dumps({**_FOREIGN, "writeKey": "demo"})
    lines: Sequence[bytes] = [event, *(bad.item for bad in BAD_RECORDS)]
    one.output(["kcat", "-P", "-b", run["bootstrap"], "-t", topic], b"\n".join(lines) + b"\n")
    asyncio.run(_produce(run["bootstrap"], topic, event))
    return len(lines) + 1


async def _produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=b"a key of its own")
    finally:
        await producer.stop()


def _is_refused(port: int, case: Refusal) -> bool:
    answer = request(port, case.method, case.path, case.body, case.headers)
    try:
        body = orjson.loads(answer.body)
    except ValueError:
        return False
    return (answer.status, body.get("success"), body.get("code")) == (case.status, False, case.code) and bool(body.get("message"))


def _post(port: int, path: str, body: bytes) -> tuple[int, Any]:
    answer = request(port, "POST", path, body, Refusal("", path, body, 0, "").headers)
    return answer.status, orjson.loads(answer.body)
