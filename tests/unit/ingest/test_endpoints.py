"""Which paths are taken, and what each of them takes."""

import pytest

from pipeline.ingest import ENDPOINTS
from tests.unit.ingest.requests_of_sdks import event, post


@pytest.mark.parametrize(
    ("path", "name", "takes"),
    [
        *[(f"/v1/{call}", call, "event") for call in ("identify", "track", "page", "screen", "group", "alias")],
        ("/v1/i", "identify", "event"),
        ("/v1/t", "track", "event"),
        ("/v1/p", "page", "event"),
        ("/v1/s", "screen", "event"),
        ("/v1/g", "group", "event"),
        ("/v1/a", "alias", "event"),
        ("/v1/batch", "batch", "batch"),
        ("/v1/b", "batch", "batch"),
        ("/v1/import", "batch", "batch"),
        ("/beacon/v1/batch", "beacon", "batch"),
        *[(f"/v1/pixel/{call}", "pixel", "pixel") for call in ("identify", "track", "page", "screen", "group", "alias")],
        *[(f"/pixel/v1/{call}", "rudder_pixel", "pixel") for call in ("track", "page")],
        ("/token", "token", "token"),
        ("/v1/m", "metrics", "nothing"),
    ],
)
def test_each_path_is_taken_with_and_without_a_slash(path: str, name: str, takes: str) -> None:
    """Java posts to /v1/import/, Go to //v1/batch where its address ends in a slash, and a redirect would lose their events."""
    assert (name, takes) == (ENDPOINTS[path].name, ENDPOINTS[path].takes)
    assert ENDPOINTS[path] == ENDPOINTS[path + "/"] == ENDPOINTS["/" + path]


@pytest.mark.parametrize("call", ["identify", "page", "screen", "group", "alias"])
def test_the_path_gives_the_type_of_an_event_without_one(call: str) -> None:
    """Only the path says what the event is."""
    assert call == event(post(f"/v1/{call}", {"userId": "u"}))["type"]


def test_the_type_of_an_event_wins_over_its_path() -> None:
    """An event that says what it is stays what it is."""
    assert event(post("/v1/track", {"type": "page", "userId": "u"}))["type"] == "page"


def test_only_pixels_are_asked_for() -> None:
    """Everything else is posted."""
    assert {endpoint.method == "GET" for endpoint in ENDPOINTS.values() if endpoint.takes == "pixel"} == {True}
    assert {endpoint.method for endpoint in ENDPOINTS.values() if endpoint.takes != "pixel"} == {"POST"}
