"""A process that cannot begin says why in a sentence."""

import socket

from tests.unit.app.cli.commands import Shell


def test_a_taken_port_is_a_sentence(shell: Shell) -> None:
    """The port of another program is named, with what to do, and there is no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = shell.run("run", "validate", "--bootstrap", "127.0.0.1:1", "--prefix", "shop", "--port", str(port))
    assert 1 == done.status
    assert f"127.0.0.1:{port} cannot be listened on" in done.err
    assert "--port" in done.err
