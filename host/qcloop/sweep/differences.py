"""Why a sweep runs points again that were finished before: in what the finished ones differ from them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qcloop.crossbar.settings import AS_BEFORE
from qcloop.sweep.points import Point
from qcloop.text import counted, printable

#: Settings that decide the device profile: where one of them differs, so does the profile.
_OF_PROFILE = ("device", "states", "reading", "sigma", "relaxation")
#: Most differences that are spelled out.
_SHOWN = 3


def why_again(points: Sequence[Point], files: Iterable[Path], swept: Sequence[str]) -> str:
    """Return how many points are run again, and in what the first one differs from what was finished.

    Parameters
    ----------
    points : sequence of Point
        Those that are to be run.
    files : iterable of Path
        Outcomes of other points. A point was finished before if one of them has the same value of each
        swept setting, and the same seed and chip.
    swept : sequence of str
        Settings in which the points of the sweep differ on purpose.

    Returns
    -------
    str
        One line; nothing if no point is run again.
    """
    finished: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        if (description := _description(file)) is not None:
            finished.setdefault(_key(description, swept), []).append(description)
    if not finished:
        return ""
    again = [now for now in (point.description() for point in points) if _key(now, swept) in finished]
    if not again:
        return ""
    words = min((_differing(old, again[0]) for old in finished[_key(again[0], swept)]), key=len)
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    subject = f"{counted(len(again), 'point')} {'are' if len(again) > 1 else 'is'} run again"
    return printable(f"{subject}: {'; '.join(words[:_SHOWN])}{more}")


def _key(description: dict[str, Any], swept: Sequence[str]) -> str:
    settings = AS_BEFORE | description["settings"]
    return json.dumps([settings.get(name) for name in (*swept, "seed", "chip")])


def _description(file: Path) -> dict[str, Any] | None:
    """Return the description of the point in a file; None if it has none, or cannot be read."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {
            "qcloop": str(values["qcloop"]),
            "data_sha256": str(values["data_sha256"]),
            "settings": dict(values["settings"]),
            "profile": dict(values["profile"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _differing(old: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words what differs between two descriptions."""
    before, after = AS_BEFORE | old["settings"], now["settings"]
    settings = [name for name in after | before if before.get(name) != after.get(name)]
    words = [f"{name} was {before.get(name)}, is {after.get(name)} now" for name in settings]
    if not set(settings) & set(_OF_PROFILE):
        profiles = old["profile"], now["profile"]
        what = [name for name in profiles[0] | profiles[1] if profiles[0].get(name) != profiles[1].get(name)]
        words += [f"device {after['device']} had another {', '.join(what)}"] if what else []
    if old["data_sha256"] != now["data_sha256"]:
        digests = (one["data_sha256"][:12] for one in (old, now))
        words.append("data had SHA-256 {}, have {} now".format(*digests))
    if old["qcloop"] != now["qcloop"]:
        words.append(f"qcloop was {old['qcloop']}, is {now['qcloop']} now")
    return words
