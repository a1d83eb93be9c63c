"""Which handler serves a path."""

import pytest

from pipeline.app.collector.routes import Handler, Reply, RouteRequest, find, methods


def serving(name: str) -> Handler:
    """Make a handler that can be told from others."""

    async def handler(_request: RouteRequest) -> Reply:
        return Reply(200, name.encode())

    return handler


ROUTES = {("GET", path): serving(path) for path in ("/", "/live/", "/live/events/", "/health/ready")}


@pytest.mark.parametrize(
    ("method", "path", "prefix"),
    [
        ("GET", "/", "/"),
        ("GET", "/anything", None),
        ("GET", "/live/", "/live/"),
        ("GET", "/live/app.js", "/live/"),
        ("GET", "/live/events/5", "/live/events/"),
        ("GET", "/health/ready", "/health/ready"),
        ("GET", "/health/ready/more", None),
        ("POST", "/live/", None),
    ],
)
def test_the_longest_prefix_wins(method: str, path: str, prefix: str | None) -> None:
    """A prefix that ends in a slash takes what is below it, any other one, and the root, itself only."""
    assert find(ROUTES, method, path) is (None if prefix is None else ROUTES["GET", prefix])


@pytest.mark.parametrize(("path", "wanted"), [("/live/app.js", ["GET", "HEAD", "POST"]), ("/", ["GET", "HEAD"]), ("/nothing", [])])
def test_the_methods_of_a_path(path: str, wanted: list[str]) -> None:
    """All that a prefix serves, with HEAD where GET is; none where nothing is served."""
    assert list(methods(ROUTES | {("POST", "/live/"): serving("post")}, path)) == wanted
