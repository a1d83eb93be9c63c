"""The lock of the broker's jars."""

from pathlib import Path

import pytest

from pipeline.app.local.jars import LOCK, Jar, JarError, ensure_jars, parse_lock

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_line_names_one_jar() -> None:
    """A line is a Maven coordinate and a sum; comments and empty lines are skipped."""
    assert (Jar("org.x", "y_2.13", "4.3.1", EMPTY),) == parse_lock(f"# made by make\n\norg.x:y_2.13:4.3.1 {EMPTY}\n")


@pytest.mark.parametrize("line", ["org.x:y", f"org.x:y {EMPTY}", f"org.x:y:1:jar {EMPTY}", "org.x:y:1 abc", "org.x:y:1"])
def test_a_line_of_another_form_is_refused(line: str) -> None:
    """The message names the line's number."""
    with pytest.raises(JarError, match="line 2"):
        parse_lock(f"# first\n{line}\n")


def test_a_jar_with_another_sum_is_named(tmp_path: Path) -> None:
    """A file that is not the one in the lock stops the start, and the message names it."""
    jar = Jar("org.x", "y", "1", EMPTY)
    (tmp_path / "y-1.jar").write_bytes(b"not empty")

    with pytest.raises(JarError, match=r"y-1\.jar is not the file"):
        ensure_jars([jar], tmp_path, progress=print)


def test_jars_that_are_there_are_not_fetched(tmp_path: Path) -> None:
    """With every jar in the folder nothing is downloaded, and the order is the lock's."""
    said: list[str] = []
    for name in ("b-1.jar", "a-1.jar"):
        (tmp_path / name).touch()

    paths = ensure_jars([Jar("org.x", "b", "1", EMPTY), Jar("org.x", "a", "1", EMPTY)], tmp_path, said.append)

    assert ((tmp_path / "b-1.jar", tmp_path / "a-1.jar"), []) == (paths, said)


def test_the_lock_holds_a_broker_and_no_address() -> None:
    """The committed lock names Kafka's server and client of one version, its log backend, and no host."""
    text = LOCK.read_text(encoding="utf-8")
    jars = {jar.artifact: jar for jar in parse_lock(text)}

    assert jars["kafka_2.13"].version == jars["kafka-clients"].version
    assert "log4j-slf4j-impl" in jars
    assert "//" not in text
