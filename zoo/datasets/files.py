"""Files that are too large to ship: found in the folder that ZOO_DATA names, or downloaded and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pooch


class Missing(FileNotFoundError, ValueError):
    """A data file is neither at hand nor to be had; the message says where to put it."""


def find(folder: str, file: str) -> Path | None:
    """The file in $ZOO_DATA/folder, or None."""
    root = os.environ.get("ZOO_DATA")
    path = Path(root, folder, file) if root else None
    return path if path is not None and path.is_file() else None


def at_hand(folder: str, file: str, origin: str) -> Path:
    """The file in $ZOO_DATA/folder, which is never downloaded; a sentence with its origin where it is not there."""
    found = find(folder, file)
    if found is not None:
        return found
    root = os.environ.get("ZOO_DATA")
    where = f"not in {Path(root, folder)} (ZOO_DATA)" if root else "not at hand (ZOO_DATA is not set)"
    raise Missing(
        f"{file} of {folder} is {where}: set ZOO_DATA to a folder that holds {folder}/{file}, which comes from {origin}"
    )


def fetch(folder: str, file: str, mirrors: Sequence[str], checksum: str | None) -> Path:
    """The file in $ZOO_DATA/folder, or else in the cache, downloaded from the first mirror that has it.

    Parameters:
        mirrors: addresses of the file, in the order they are asked.
        checksum: "sha256:..." of a download, or None where the reader checks what it holds.
    """
    found = find(folder, file)
    if found is not None:
        return found
    reason: Exception | None = None
    for address in mirrors:
        try:
            cache = Path(pooch.os_cache("pyro-zoo")) / folder
            return Path(pooch.retrieve(address, known_hash=checksum, fname=file, path=cache))
        except (OSError, ValueError) as error:
            reason = error
            # pooch leaves the connection of a refused request open.
            if (answer := getattr(error, "response", None)) is not None:
                answer.close()
    raise Missing(_sentence(folder, file, reason))


def _sentence(folder: str, file: str, reason: Exception | None) -> str:
    root = os.environ.get("ZOO_DATA")
    where = f"not in {Path(root, folder)} (ZOO_DATA)" if root else "not at hand (ZOO_DATA is not set)"
    why = "what was downloaded has a wrong checksum" if "hash" in str(reason) else type(reason).__name__
    return (
        f"{file} of {folder} is {where} and could not be downloaded ({why}): "
        f"set ZOO_DATA to a folder that holds {folder}/{file}"
    )
