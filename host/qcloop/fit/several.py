"""Several devices of one file: their names, the files they are written to, and a sweep over them."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import tomli_w

from qcloop.text import counted

#: Longest label of a device in names of files and profiles.
_LONGEST = 40
#: Longest name of a profile.
_LONGEST_NAME = 64


def device_labels(devices: Iterable[str]) -> dict[str, str]:
    """Return for each device a label that may stand in the name of a file and of a profile.

    It is what the file of measurements calls the device, with ``_`` for each run of other signs than letters,
    digits, ``.``, ``+`` and ``-``. No two labels are alike, also where a file system does not tell small
    letters from capitals.
    """
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for device in devices:
        plain = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", device))
        plain = plain.lstrip("+._-")[:_LONGEST].rstrip("._-") or "x"
        label, number = plain, 1
        while label.casefold() in taken:
            number += 1
            label = f"{plain}_{number}"
        taken.add(label.casefold())
        labels[device] = label
    return labels


def labelled(path: Path, label: str) -> Path:
    """Return the path of a device's own file: ``mine-3.toml`` for ``mine.toml`` and device 3."""
    return path.with_name(f"{path.stem}-{label}{path.suffix}")


def labelled_name(name: str, label: str) -> str:
    """Return the name of a device's profile: ``sample A device 3``."""
    word = label if label.casefold().startswith("device") else f"device {label}"
    return f"{name[: _LONGEST_NAME - 1 - len(word)].rstrip(' .-')} {word}"


def sweep_file(measured: str, devices: Sequence[str]) -> str:
    """Return a sweep file that trains on each of several device files.

    Parameters
    ----------
    measured : str
        Name of the file of measurements, in one line.
    devices : sequence of str
        Names of the device files, which are in the folder of the sweep file.
    """
    head = (
        f"# A sweep over {counted(len(devices), 'device')} fitted to {measured}. Run it by `qcloop sweep`.\n"
        "# seeds     seeds of each device: a count or a list\n"
        "# settings  options of `qcloop train` that all devices share, such as epochs = 5\n"
        "# grid      the device files, which are looked for beside this file\n"
    )
    tables = {"seeds": 1, "settings": {}, "grid": {"device": list(devices)}}
    return f"{head}\n{tomli_w.dumps(tables)}"
