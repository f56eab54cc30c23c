"""The search for the four files of a data set in a directory, by the names that are in use."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qcloop.data.idx import read_idx
from qcloop.errors import DataError

#: The files of a data set: (set, kind).
ROLES = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))

_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|test|t10k)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?", re.DOTALL
)
_SPELLINGS = {"train": ("train",), "test": ("t10k", "test")}
_ENDINGS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}
_SHOWN_FILES = 8

Role = tuple[str, str]


def find_files(directory: Path) -> tuple[str, dict[Role, Path]]:
    """Find the files of the one data set in ``directory``.

    Their names are ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, with ``t10k`` or ``test``
    instead of ``train`` for the test set, and with or without ``.gz`` and a prefix such as
    ``emnist-letters-``. If there are a plain and a compressed file of the same name, the plain one is taken.

    Parameters
    ----------
    directory : Path
        Where to look. Its subdirectories are not searched.

    Returns
    -------
    prefix : str
        What the four names begin with, for example ``emnist-letters-``; usually empty.
    files : dict of (set, kind) to Path
        One file for each of :data:`ROLES`.

    Raises
    ------
    DataError
        If the directory cannot be read, lacks a file, or holds more than one data set.
    """
    names = _list_files(directory)
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    by_prefix = {match["prefix"]: match.string for match in reversed(matches)}
    if len(by_prefix) > 1:
        raise DataError(
            f"{directory}: holds {len(by_prefix)} data sets ({', '.join(sorted(by_prefix.values()))}); "
            "expected one: move the files of each to a directory of its own"
        )
    candidates: dict[Role, dict[str, Path]] = {}
    for match in matches:  # the names are sorted, so that the plain file comes before its '.gz'
        part = "train" if match["part"] == "train" else "test"
        of_role = candidates.setdefault((part, match["kind"]), {})
        of_role.setdefault(match.string.removesuffix(".gz"), directory / match.string)
    missing = [role for role in ROLES if role not in candidates]
    if missing:
        raise DataError(_describe_missing(directory, missing, names))
    files = {role: _choose(directory, role, list(candidates[role].values())) for role in ROLES}
    return next(iter(by_prefix)), files


def _list_files(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir() if path.is_file())
    except FileNotFoundError:
        raise DataError(f"{directory}: no such directory; expected one with IDX files") from None
    except NotADirectoryError:
        raise DataError(f"{directory}: is not a directory; expected one with IDX files") from None
    except OSError as error:
        raise DataError(f"{directory}: cannot be read: {error.strerror or error}") from error


def _describe_missing(directory: Path, missing: Iterable[Role], names: list[str]) -> str:
    roles = ", ".join(" ".join(role) for role in missing)
    wanted = ", ".join(
        " or ".join(f"{spelling}-{_ENDINGS[kind]}" for spelling in _SPELLINGS[part]) for part, kind in missing
    )
    there = ", ".join(names[:_SHOWN_FILES]) or "no files"
    if len(names) > _SHOWN_FILES:
        there += f" and {len(names) - _SHOWN_FILES} more"
    return (
        f"{directory}: has no {roles}; looked for {wanted} (also with '.idx', a prefix, '.gz'); "
        f"the directory holds {there}"
    )


def _choose(directory: Path, role: Role, paths: list[Path]) -> Path:
    """Return the first of the files for one role; raise DataError if another holds different data."""
    first = paths[0]
    for other in paths[1:]:
        if not np.array_equal(read_idx(first), read_idx(other)):
            raise DataError(
                f"{directory}: {first.name} and {other.name} are both {' '.join(role)} but hold different "
                "data; expected one: remove or move the other"
            )
    return first
