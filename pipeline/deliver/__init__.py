"""Deliver: what a request looks like when it is sent, and what an answer means.

Comes in: records of `requests.<destination>` and answers. Goes out: requests with secrets and signature, a verdict on
each answer, when and where the next try lies, records of `deliveries`, and the text that says which records are finished.
Everything here is pure; `pipeline.runtime.delivery` sends and commits.

Reasons: `rejected`, `redirected`, `retries_exhausted` (dead); `unauthorized`, `misconfigured`, `gone` (kept as backlog).
"""
