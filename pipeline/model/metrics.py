"""Every metric: its name, kind, labels and a sentence. Labels are bounded: ids that the workspace declares, and registered names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """A row of the table.

    Attributes:
        name: Prometheus name.
        kind: Kind of metric.
        labels: Label names.
        sentence: What it counts.
        buckets: Upper bounds of a histogram, in the unit of its name.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    sentence: str
    buckets: tuple[float, ...] = ()


_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_LAG_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_TURN_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)

_METRICS: Final = (
    Metric("headrace_ingest_requests_total", "counter", ("endpoint", "status"), "Requests answered by the collector."),
    Metric("headrace_ingest_events_total", "counter", ("source", "outcome"), "Events taken or refused by the collector."),
    Metric("headrace_ingest_refused_total", "counter", ("endpoint", "code"), "Requests refused, by the code of the answer (a pixel shows none)."),
    Metric(
        "headrace_ingest_retries_total",
        "counter",
        ("source", "attempt"),
        "Requests that a client marked as a retry, by how many tries it had made: 1, 2, 3, 4-10, more.",
    ),
    Metric(
        "headrace_ingest_replaced_values_total",
        "counter",
        ("source", "what"),
        "Values that JSON cannot carry and what they were: not_a_number, number_too_large, lone_surrogate, duplicate_key.",
    ),
    Metric(
        "headrace_ingest_key_requests_total",
        "counter",
        ("source", "key"),
        "Requests by write key, disabled ones among them; the key's name is what `headrace source key list` shows.",
    ),
    Metric("headrace_ingest_request_seconds", "histogram", ("endpoint",), "From the request's last byte to its answer.", _SECONDS),
    Metric("headrace_records_in_total", "counter", ("processor",), "Records read."),
    Metric(
        "headrace_records_expired_total",
        "counter",
        ("processor",),
        "Offsets that retention took before they were read: records, and the markers of transactions among them (one may be a marker alone).",
    ),
    Metric("headrace_records_passed_total", "counter", ("processor",), "Records that went on."),
    Metric("headrace_records_dropped_total", "counter", ("processor", "reason"), "Records dropped as meant."),
    Metric("headrace_records_dead_total", "counter", ("processor", "reason"), "Records written to dead letters."),
    Metric("headrace_records_blocked_total", "counter", ("processor", "reason"), "Records held back by a plan or privacy rule."),
    Metric("headrace_records_withheld_total", "counter", ("processor", "destination", "reason"), "Events that a destination did not get."),
    Metric("headrace_records_out_total", "counter", ("processor", "lane"), "Records written, by lane."),
    Metric(
        "headrace_transactions_total",
        "counter",
        ("processor", "outcome"),
        "Transactions by outcome, each once however many partitions went in it: committed, refused, blocked, uncertain, fenced.",
    ),
    Metric("headrace_transaction_seconds", "histogram", ("processor",), "From the first record taken to the commit.", _SECONDS),
    Metric("headrace_batch_records", "histogram", ("processor",), "Records in one transaction.", (1, 10, 50, 100, 500, 1000, 5000, 10_000)),
    Metric("headrace_end_to_end_seconds", "histogram", ("processor",), "From the collector's received_at to the commit here.", _SECONDS),
    Metric("headrace_worker_up", "gauge", ("worker",), "1 while a worker of `headrace run collector --workers` answers."),
    Metric("headrace_lag_records", "gauge", ("processor",), "Records of the input that no worker has taken yet."),
    Metric("headrace_deliveries_total", "counter", ("destination", "status"), "Delivery attempts by HTTP status; 0 is a network error."),
    Metric("headrace_delivery_seconds", "histogram", ("destination",), "Latency of delivery attempts.", _SECONDS),
    Metric("headrace_destination_parked", "gauge", ("destination",), "1 while a destination is parked."),
    Metric("headrace_held_requests", "gauge", ("destination",), "Requests that wait for an earlier one of their user (order: user)."),
    Metric("headrace_order_waived_total", "counter", ("destination",), "Requests of a busy key that did not wait for the one before them."),
    Metric(
        "headrace_translated_anew_total",
        "counter",
        ("destination", "outcome"),
        "Requests that waited while their destination changed, by what translating them anew came to.",
    ),
    Metric("headrace_lake_rows_total", "counter", ("storage",), "Rows committed to a lake."),
    Metric("headrace_lake_commit_seconds", "histogram", ("storage",), "Time to write and commit one manifest record.", _SECONDS),
    Metric(
        "headrace_loop_lag_seconds", "histogram", ("process",), "How late timers come: what one turn of the loop keeps others waiting.", _LAG_SECONDS
    ),
    Metric(
        "headrace_loop_turn_cpu_seconds",
        "histogram",
        ("process",),
        "CPU time of a turn of the event loop, above 0.1 ms.",
        _TURN_SECONDS,
    ),
    Metric(
        "headrace_standing_still",
        "gauge",
        ("processor",),
        "1 while a partition has work, waits for nothing on purpose and does not move; the process is about to be started again.",
    ),
    Metric(
        "headrace_partitions_blocked",
        "gauge",
        ("processor",),
        "Partitions that cannot go on until something is mended: a right, a full disk, a topic that is missing or another one; the log says what.",
    ),
    Metric("headrace_disk_free_bytes", "gauge", ("folder",), "Room on the disk of local state, or of a lake (the id of the storage)."),
    Metric("headrace_processor_stopped", "gauge", ("processor",), "1 while the breaker keeps a processor stopped because its steps crash."),
    Metric("headrace_source_throttled", "gauge", ("processor", "source"), "1 while a source goes to dead letters because its records crash."),
    Metric("headrace_dedup_ids", "gauge", ("processor", "partition"), "Message ids that dedup holds, those about to be forgotten among them."),
    Metric(
        "headrace_dedup_window_seconds",
        "gauge",
        ("processor", "partition"),
        "Stretch up to now of which dedup knows every message; less than its window after overload or a loss of its changelog.",
    ),
    Metric("headrace_dedup_window_short", "gauge", ("processor", "partition"), "1 while that is less than the declared window, or less than a day."),
    Metric("headrace_dedup_restored_ids", "gauge", ("processor", "partition"), "Message ids read from the changelog at the last assignment, so far."),
    Metric(
        "headrace_dedup_rebuilds_total",
        "counter",
        ("processor", "cause"),
        "Local dedup stores that were refused and rebuilt: damaged (or of another format), foreign (of another changelog, or of one that was cut).",
    ),
    Metric("headrace_config_version", "gauge", ("processor",), "Version of the configuration that the processor knows; 0 before the first."),
)

METRICS: Final[Mapping[str, Metric]] = MappingProxyType({metric.name: metric for metric in _METRICS})
"""Every metric by name."""
