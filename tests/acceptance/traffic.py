"""What is sent to a run: calls of the real SDKs, records of other Kafka clients, and malformed input of each kind, all at once."""

from __future__ import annotations

import asyncio
import shutil
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
from tests.acceptance.sent import read_ledgers

SDKS: Final = Path(__file__).parents[1] / "sdks"
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

    calls: dict[str, dict[str, Any]]
    foreign: int
    duplicates: int


def install_node_sdk(folder: Path) -> Path:
    """Install the JavaScript SDK as `package-lock.json` names it.

    Args:
        folder: A folder to make.

    Returns:
        The driver that sends with it.
    """
    shutil.copytree(SDKS, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)  # noqa: S607 (the user's npm)
    return folder / "send_node.mjs"


def send_all(one: Installation, node: Path, calls: int, folder: Path, checks: Checks) -> Sent:
    """Send everything.

    Args:
        one: The run.
        node: The driver of the JavaScript SDK.
        calls: How many SDK calls.
        folder: Folder for the drivers' ledgers.
        checks: Where answers are noted.

    Returns:
        What was sent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = f"http://127.0.0.1:{one.port}"
    python, compressed, javascript = (folder / f"{name}.ndjson" for name in ("python", "compressed", "javascript"))
    quarter = str(calls // 4)
    driver = [sys.executable, str(SDKS / "send_python.py")]
    commands = {
        "segment-analytics-python": [*driver, host, "demo", quarter, "python", str(python)],
        "segment-analytics-python, gzip": [*driver, host, "demo", quarter, "compressed", str(compressed), "gzip"],
        "@segment/analytics-node": ["node", str(node), host, "demo-app", str(calls - 2 * (calls // 4)), "javascript", str(javascript)],
    }
    running = {name: subprocess.Popen(command, stderr=subprocess.PIPE) for name, command in commands.items()}
    send_malformed(one.port, checks)
    foreign = send_to_raw(one)
    again = request(one.port, "POST", "/v1/track", orjson.dumps({**_FOREIGN, "writeKey": "demo"}))
    checks.equal("the same message by HTTP", (again.status, orjson.loads(again.body)), (200, SUCCESS))
    for name, process in running.items():
        _, errors = process.communicate()
        checks.check(f"{name} reports no error", process.returncode == 0, errors.decode()[-300:])
    stored = read_ledgers([python, compressed, javascript])
    checks.equal("calls sent by the SDKs", len(stored), calls)
    stored |= {message["messageId"]: message for message in (_FOREIGN, _GOOD_IN_BATCH)}
    stored |= {message_id: {"messageId": message_id, **fields} for message_id, fields in ODD_STORED.items()}
    return Sent(stored, foreign, duplicates=2)


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
