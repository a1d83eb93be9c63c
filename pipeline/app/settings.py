"""What the environment says: the one place of the product that reads it (design: one machine, then many).

| variable | what it is | unless set |
|---|---|---|
| `HEADRACE_HOME` | folder of all state of a local run | `./.headrace` |
| `HEADRACE_PORT` | the collector's port | 7070 |
| `HEADRACE_BOOTSTRAP` | Kafka's address, `host:port` | the broker that `headrace up` started |
| `HEADRACE_PRIVATE_DESTINATIONS` | `allow` or `block`: whether requests may go to addresses that are not public | `allow` on loopback, else `block` |
| `HEADRACE_TRUSTED_PROXIES` | addresses or networks, comma separated, of the proxies whose X-Forwarded-For the collector believes | nobody |
| `HEADRACE_TOKEN_SECRET` | signs OAuth access tokens, 32 characters or more; the same for all collectors of a workspace | one of each process alone |
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from pipeline.declaration import Reference, references_in
from pipeline.model.addresses import Network
from pipeline.resources import resource

PORT: Final = 7070
SECRETS_FILE: Final = "secrets.env"
"""Name of the file in the home that holds secrets as `NAME=value`, one a line; the environment goes before it."""
SECRET_BYTES_MOST: Final = 64 * 1024


class SettingError(ValueError):
    """A setting or a secret that cannot be used; the message names it, says what to do, and never shows a secret."""


class Settings(NamedTuple):
    """What the environment says.

    Attributes:
        home: Folder of all state of a local run.
        port: The collector's port.
        bootstrap: Kafka's address; empty where neither the environment nor a local run names one.
        private_destinations: Whether requests may go to addresses that are not public; None where the environment does not say.
        trusted_proxies: Networks of the proxies whose X-Forwarded-For the collector believes.
    """

    home: Path
    port: int
    bootstrap: str
    private_destinations: bool | None = None
    trusted_proxies: tuple[Network, ...] = ()

    @property
    def collector(self) -> str:
        """Address of the collector on this machine."""
        return f"http://127.0.0.1:{self.port}"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: Variables by name; the process's own unless given.

    Returns:
        The settings.

    Raises:
        SettingError: A variable has a value that it cannot have.
    """
    variables = os.environ if environment is None else environment
    home = Path(variables.get("HEADRACE_HOME") or ".headrace")
    text = variables.get("HEADRACE_PORT") or str(PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingError("HEADRACE_PORT is no port: give a number from 1 to 65535")
    bootstrap = variables.get("HEADRACE_BOOTSTRAP") or _bootstrap_of_run(home)
    return Settings(home, int(text), bootstrap, _private_destinations(variables), _trusted_proxies(variables))


def _trusted_proxies(variables: Mapping[str, str]) -> tuple[Network, ...]:
    named = [part.strip() for part in variables.get("HEADRACE_TRUSTED_PROXIES", "").split(",") if part.strip()]
    try:
        return tuple(ipaddress.ip_network(part) for part in named)
    except ValueError as error:
        raise SettingError(f"HEADRACE_TRUSTED_PROXIES: {error}; give addresses or networks, such as 10.0.0.0/8, with commas between them") from None


def _private_destinations(variables: Mapping[str, str]) -> bool | None:
    said = variables.get("HEADRACE_PRIVATE_DESTINATIONS", "")
    if said not in ("", "allow", "block"):
        raise SettingError("HEADRACE_PRIVATE_DESTINATIONS is neither allow nor block")
    return None if not said else said == "allow"


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on an address.

    Args:
        host: Name or address.

    Returns:
        True for `localhost` and loopback addresses.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bootstrap_of_run(home: Path) -> str:
    """Give the address of the broker that `headrace up` wrote down, or nothing where it has not run."""
    try:
        run: Any = orjson.loads((home / "run.json").read_bytes())
    except (OSError, ValueError):
        return ""
    bootstrap = run.get("bootstrap", "") if isinstance(run, dict) else ""
    return bootstrap if isinstance(bootstrap, str) else ""


class Secrets:
    """Fills in references to secrets, where they are used and nowhere before.

    Args:
        home: Folder whose `secrets.env` is read beside the environment.
        environment: Variables by name; the process's own unless given.
    """

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._environment = environment

    def resolve(self, text: str) -> str:
        """Fill in every reference of a text.

        Args:
            text: A setting: `${env:NAME}`, `${file:PATH}`, or text around them. A relative path, which the
                reading of a workspace makes absolute, counts from the current folder.

        Returns:
            The text with the secrets in it.

        Raises:
            SettingError: A secret is not there; names its reference only.
        """
        for reference in references_in(text):
            text = text.replace(reference.text, self._value(reference))
        return text

    def _value(self, reference: Reference) -> str:
        if reference.kind == "env":
            environment = os.environ if self._environment is None else self._environment
            value = environment.get(reference.name)
            if value is None:
                # Read each time: `headrace source add` may have added to it since this process began.
                value = read_secrets_file(self._home).get(reference.name)
            if not value:
                raise SettingError(f"{reference.text} is not set: set it in the environment or in {self._home / SECRETS_FILE}")
            return value
        try:
            value = Path(reference.name).expanduser().read_bytes()[:SECRET_BYTES_MOST].decode().rstrip("\r\n")
        except FileNotFoundError:
            place = Path(reference.name).expanduser().absolute()
            raise SettingError(
                f"{reference.text} cannot be read: there is no file {place}; a relative path begins where a process was started"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{reference.text} cannot be read: {type(error).__name__}; give a readable text file") from None
        if not value:
            raise SettingError(f"{reference.text} is empty: write the secret into the file")
        return value


def read_secrets_file(home: Path) -> dict[str, str]:
    """Read `secrets.env`.

    Args:
        home: The folder it lies in.

    Returns:
        Secrets by name; none where there is no file.
    """
    try:
        lines = (home / SECRETS_FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def make_home(home: Path) -> None:
    """Make the folder of a run's state, which only its owner may enter: keys and events lie in it.

    Args:
        home: The folder; one that is there stays as its owner made it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)


def add_secret(home: Path, name: str, value: str) -> Path:
    """Append a secret to `secrets.env`, which only its owner may read.

    Args:
        home: The folder it lies in; made where it is missing.
        name: Name of the variable.
        value: The secret, one line.

    Returns:
        Path of the file.
    """
    make_home(home)
    path = home / SECRETS_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{name}={value}\n")
    return path


def read_schema(name: str) -> dict[str, Any]:
    """Read one of our own JSON Schemas, in a checkout or a wheel.

    Args:
        name: Its name without ending: `workspace`.

    Returns:
        The schema.
    """
    schema: dict[str, Any] = orjson.loads((resource("schemas") / f"{name}.json").read_bytes())
    return schema


def topology_file(name: str) -> Path:
    """Find a topology by its name or path.

    Args:
        name: Path of a file, or the name of one that comes with the product (`default`, `fused`).

    Returns:
        Path of the file.

    Raises:
        SettingError: There is neither; names those that come with the product.
    """
    path = Path(name)
    if path.is_file():
        return path
    ours = resource("topologies")
    found = ours / f"{name}.yaml"
    if "/" not in name and found.is_file():
        return found
    names = ", ".join(sorted(file.stem for file in ours.glob("*.yaml") if not file.stem.endswith("_test")))
    raise SettingError(f"there is no topology {name}: give a file, or one of {names}")
