"""Where the files are that ship with the package: the corpora, the results, the deck's numbers."""

from __future__ import annotations

from pathlib import Path


def folder(name: str) -> Path:
    """Return a folder of the shipped data, from an installed package or from a checkout.

    Args:
        name: "duet", "pitch", "states", "paper" or "results".

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    package = Path(__file__).parent
    places = [package / "data" / name, package.parent / "data" / name]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"The shipped data {name!r} is in neither {places[0]} nor {places[1]}. Install mer-lib again."
    )
