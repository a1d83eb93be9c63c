"""What `headrace status` says of what waits."""

from __future__ import annotations

from pipeline.app.cli.status import backlog


def test_the_backlog_of_a_destination_is_the_lag_of_who_delivers_to_it_and_what_is_taken_up() -> None:
    """Neither a translate group of the same destination nor another destination's queue counts."""
    groups = [
        {"group": "deliver.crm", "topics": ["shop.requests.crm", "shop.requests.crm.retry"], "lag": 7},
        {"group": "deliver.crm2", "topics": ["shop.requests.crm2"], "lag": 5},
        {"group": "translate.crm", "topics": ["shop.routed"], "lag": 3},
    ]
    assert (8, 6, 1) == tuple(backlog({"destination": one, "unfinished": 1}, groups) for one in ("crm", "crm2", "mail"))
