"""Does the accounts of a run: what each processor took and how it ended, and whether each arrow between two of them lost or doubled anything.

In: the records of `ledger`, the topology, and how many records lie in ranges of topics (somebody else counts them). Out: a report with its residue.
"""

from __future__ import annotations

from pipeline.audit.accounts import ENDS, Accounts, Transaction, read_transaction
from pipeline.audit.arrows import Readers
from pipeline.audit.report import FAULTS, Balance, Finding, Place, Report, Span, questions, report

__all__ = [
    "ENDS",
    "FAULTS",
    "Accounts",
    "Balance",
    "Finding",
    "Place",
    "Readers",
    "Report",
    "Span",
    "Transaction",
    "questions",
    "read_transaction",
    "report",
]
