"""The faults that are known (reference: reliability, 3.1 to 3.3), and where those are proven that have no row of their own in the report."""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """One fault.

    Attributes:
        title: What happens.
        elsewhere: Where it is proven, or why it is not run.
    """

    title: str
    elsewhere: str = ""


CATALOGUE: Final[dict[str, Fault]] = {
    "T1": Fault("kill -9 of each process in turn, under load"),
    "T2": Fault("kill at a point inside a transaction, a hand-over, a restore"),
    "T3": Fault("SIGSTOP of a member beyond its session"),
    "T4": Fault("a handler blocks the event loop"),
    "T5": Fault("a member joins between produce and offset commit"),
    "T6": Fault("rebalance storm"),
    "T7": Fault("rolling clean restart of three brokers"),
    "T8": Fault("kill -9 of the broker that is leader and coordinator"),
    "T9": Fault("SIGSTOP of the broker"),
    "T10": Fault("a partition without leader, longer than the request timeout"),
    "T11": Fault("a record is refused inside a transaction"),
    "T12": Fault("EndTxn delayed beyond the request timeout"),
    "T13": Fault("an open transaction of a dead member"),
    "T14": Fault("a member cut off from the broker, both ways and one way; a lossy, slow network"),
    "T15": Fault("the wall clock of a member jumps"),
    "T16": Fault("disk full"),
    "T17": Fault("out of memory under a backlog"),
    "T18": Fault("SIGTERM under load"),
    "T19": Fault("start without broker, topic missing, partitions changed, topic made anew"),
    "T20": Fault("reset of a group to the beginning"),
    "T21": Fault("replay beside live traffic"),
    "T22": Fault("local state deleted, damaged; changelog cut"),
    "T23": Fault("a duplicate at the edge of the window"),
    "T24": Fault("one message id from many connections"),
    "T25": Fault("rolling upgrade and rollback", "there is no second release yet"),
    "T26": Fault("aborted segments, lone markers, tombstones, foreign bytes, empty batches in the log"),
    "T27": Fault("soak", "`make soak`"),
    "T28": Fault("a destination answers 5xx for half an hour"),
    "T29": Fault("429 with any Retry-After"),
    "T30": Fault("a destination that stalls"),
    "T31": Fault("a destination that answers without end"),
    "T32": Fault("a destination that leads inside"),
    "T33": Fault("reset after the body was sent"),
    "T34": Fault("a batch answer with failures item by item"),
    "T35": Fault("terminal answers"),
    "T36": Fault("a fault of our own"),
    "T37": Fault("one of many destinations dead"),
    "T38": Fault("scripted answers, order by user"),
    "T39": Fault("a bad deploy: every record raises"),
    "T40": Fault("dead letters sent again, twice"),
    "T41": Fault("one source at 50 times its rate"),
    "T42": Fault("one hot key"),
    "T43": Fault("a backlog, then the consumers start"),
    "T44": Fault("a lake stopped at every step"),
    "T46": Fault("JSON that is nested too deeply"),
    "T47": Fault("numbers that JSON readers disagree about"),
    "T48": Fault("texts that are no Unicode, or odd Unicode"),
    "T49": Fault("hostile keys: doubled, `__proto__`, empty, too many, too long"),
    "T50": Fault("mutated bodies"),
    "T51": Fault("decompression bombs, broken and stacked encodings"),
    "T52": Fault("request smuggling, endless and broken chunks"),
    "T53": Fault("huge headers, header counts, URLs"),
    "T54": Fault("slow clients, clients that do not read, idle connections"),
    "T55": Fault("a batch with one bad event"),
    "T56": Fault("times of the year 1, of 9999, of the future, as numbers"),
    "T58": Fault("texts that mean something to a spreadsheet, a database, a terminal"),
    "T60": Fault("write keys are guessed"),
    "T61": Fault("secrets and personal data in keys, bodies, URLs, headers, errors"),
    "T62": Fault("deliveries to a webhook source: wrong, old, changed, written anew, sent again"),
    "T68": Fault("a configuration that is bad, huge or flaps"),
}
