"""Finds the files that the product reads and people edit: `schemas/` and `topologies/`.

They lie at the root of a checkout; a wheel carries them inside the package, under `pipeline/data/`.
"""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent


def resource(folder: Literal["schemas", "topologies"]) -> Path:
    """Where a folder of such files lies.

    Args:
        folder: Its name at the root of a checkout.

    Returns:
        Its path, in the installed package if it is there, else in the checkout.

    Raises:
        FileNotFoundError: It is in neither place: the installation is broken.
    """
    for path in (_PACKAGE / "data" / folder, _PACKAGE.parent / folder):
        if path.is_dir():
            return path
    raise FileNotFoundError(f"{folder}/ is neither in the package nor beside it: install headrace again")
