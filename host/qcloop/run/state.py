"""What the checkpoint of a run must hold: the arrays with their shapes and ranges, and the plain values.

A digest only tells that a file is as it was written. It does not tell that a run wrote it, so everything that
the kernels would take for granted is checked here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isfinite, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import CODE_MAX, MAX_BOARDS, MAX_STATES, STUCK_LEVEL
from qcloop.contract.generator import POSITION_MAX
from qcloop.contract.plan import ACCUMULATOR_MAX
from qcloop.contract.types import Counters
from qcloop.crossbar.ledger import UNKNOWN
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.settings import WireModel
from qcloop.crossbar.weights import WeightMap
from qcloop.crossbar.wires import GAIN_BITS
from qcloop.device import DeviceProfile
from qcloop.errors import CheckpointError
from qcloop.run.checkpoint import Arrays
from qcloop.training.geometry import LayerShape
from qcloop.training.progress import EpochMetrics, metrics_names
from qcloop.training.settings import Bias, RunSettings, Step

#: Most bytes of a checkpoint besides the arrays of its layers: the history of 100,000 epochs, and what is
#: kept of the images of an epoch (8 bytes each).
_MOST_OTHER_BYTES = 1 << 26
#: Largest value of a count: a signed integer of 64 bits, as the tables of a run can hold it.
_COUNT_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class _Member:
    """Type, shape and range of an array. ``also`` is one more value that integers may have."""

    kind: type[np.generic]
    shape: tuple[int, ...]
    low: float = 0
    high: float = np.inf
    also: int | None = None

    @property
    def bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.kind).itemsize

    def check(self, name: str, array: npt.NDArray[Any]) -> None:
        """Raise ValueError unless the array is as described."""
        if array.dtype != self.kind or array.shape != self.shape:
            wanted = f"{np.dtype(self.kind)} of {self.shape}"
            raise ValueError(f"{name} is {array.dtype} of {array.shape}, not {wanted}")
        good = np.isfinite(array) & (array >= self.low) & (array <= self.high)
        if self.also is not None:
            good |= array == self.also
        if not good.all():
            raise ValueError(
                f"{name} holds {array[~good][0]}, which is not in {self.low:g}..{self.high:g} or not finite"
            )


def most_bytes(settings: RunSettings, profile: DeviceProfile) -> int:
    """Return the most bytes that a checkpoint of such a run can have."""
    return sum(member.bytes for member in _layers(settings, profile).values()) + _MOST_OTHER_BYTES


def check_state(
    arrays: Arrays, values: dict[str, Any], settings: RunSettings, profile: DeviceProfile
) -> None:
    """Check all that a checkpoint holds, except that it has as many predictions as there are test images.

    Raises
    ------
    CheckpointError
        If an array is missing, has another type or shape, or holds what a run cannot reach: a level that the
        device does not have, a code above the largest, an accumulator that is not finite. Likewise for plain
        values. The message names it.
    """
    try:
        image, epochs = _check_progress(values["progress"], metrics_names(settings))
        members = _layers(settings, profile)
        members["picked"] = _Member(np.float64, (image,), high=1)
        classes = settings.layer_sizes()[-1]
        count = len(arrays["predictions"]) if epochs and arrays["predictions"].ndim else 0
        members["predictions"] = _Member(np.uint8, (count,), high=classes - 1)
        for name, member in members.items():
            if name not in arrays:
                raise ValueError(f"'{name}' is missing")
            member.check(name, arrays[name])
        _check_positions(values["positions"])
        _check_counters(values["counters"])
        _check_integers("values", {"rounding": values["rounding"]}, ["rounding"], POSITION_MAX)
    except KeyError as error:
        raise CheckpointError(f"the checkpoint does not fit the run: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint does not fit the run: {error}") from error


def check_predictions(arrays: Arrays, values: dict[str, Any], test_images: int) -> None:
    """Raise CheckpointError unless there is a prediction for each test image, or no epoch is done yet."""
    came = len(arrays["predictions"])
    if values["progress"]["epoch"] and came != test_images:
        raise CheckpointError(
            f"the checkpoint does not fit the run: {came:,} predictions for {test_images:,} test images"
        )


def _layers(settings: RunSettings, profile: DeviceProfile) -> dict[str, _Member]:
    """Return the arrays whose shapes follow from the settings alone, by name."""
    weights = settings.weight_map(array_settings(settings, profile))
    made = _array_layer if settings.step is Step.ARRAY else _host_layer
    members: dict[str, _Member] = {}
    for index, shape in enumerate(settings.layers()):
        own = made(settings, profile, weights, index, shape)
        members |= {f"layer{index}.{name}": member for name, member in own.items()}
    if settings.step is Step.ARRAY:
        return members | {"start": _Member(np.int64, (2, MAX_STATES), high=_COUNT_MAX // MAX_STATES)}
    # So many changes of each kind that their sum is a count, too.
    changes = MAX_STATES + 1, MAX_STATES
    return members | {"transitions": _Member(np.int64, changes, high=_COUNT_MAX // prod(changes))}


def _cells(settings: RunSettings, profile: DeviceProfile, shape: tuple[int, int]) -> dict[str, _Member]:
    sticks = settings.stuck_off + settings.stuck_on > 0 or settings.endurance is not None
    stuck = STUCK_LEVEL if sticks else None
    return {
        "cell_levels": _Member(np.uint8, shape, high=profile.states - 1, also=stuck),
        "cell_codes": _Member(np.int16, shape, high=CODE_MAX),
    }


def _array_layer(
    settings: RunSettings, profile: DeviceProfile, weights: WeightMap, index: int, layer: LayerShape
) -> dict[str, _Member]:
    """Return the arrays of a layer that the array trains by itself."""
    shape = layer.rows + (settings.bias is Bias.DEVICE), layer.cols * weights.devices
    accumulators = _Member(np.int16, shape, low=-ACCUMULATOR_MAX, high=ACCUMULATOR_MAX)
    limited = {} if settings.endurance is None else {"left": _Member(np.uint16, shape)}
    return _cells(settings, profile, shape) | {"accumulators": accumulators} | limited


def _host_layer(
    settings: RunSettings, profile: DeviceProfile, weights: WeightMap, index: int, layer: LayerShape
) -> dict[str, _Member]:
    """Return the arrays of a layer that the host trains."""
    rows, cols = layer.rows, layer.cols
    shape = rows, cols * weights.devices
    remembered = rows if settings.update.rule.remembers else 0
    wired = {}
    if settings.wire_resistance and settings.wire_model is WireModel.GAINS:
        columns = sum(across for _, across in settings.cut(index, rows, cols).shapes())
        wired = {"wire_gains": _Member(np.int32, (columns,), high=1 << GAIN_BITS)}
    return _cells(settings, profile, shape) | {
        "levels": _Member(weights.level_type, (rows, cols), high=len(weights.means) - 1),
        "offsets": _Member(np.float32, (remembered, cols), low=-np.inf),
        "bias": _Member(np.float64, (cols,), low=-np.inf),
        **wired,
        "shadow": _Member(np.uint8, (prod(shape),), high=profile.states - 1, also=UNKNOWN),
        "writes": _Member(np.uint32, (prod(shape),)),
    }


def _check_progress(progress: dict[str, Any], columns: list[str]) -> tuple[int, int]:
    """Return the images and epochs that are done; raises ValueError if they do not fit the history."""
    names = ("epoch", "image", "hits")
    _check_integers("progress", {name: progress[name] for name in names}, names, _COUNT_MAX)
    # Checkpoints of before the array had a step of its own have no penalty.
    _check_integers("progress", {"penalty": progress.get("penalty", 0)}, ["penalty"], _COUNT_MAX)
    epoch, image, hits = (progress[name] for name in names)
    history = progress["history"]
    if not isinstance(history, list) or len(history) != epoch or hits > image:
        raise ValueError(f"{epoch} epochs, {hits} of {image} images right and a history of other length")
    for number, row in enumerate(history, 1):
        _check_row(number, row, columns)
    return image, epoch


def _check_row(number: int, row: dict[str, Any], columns: list[str]) -> None:
    kinds: dict[str, Any] = {field.name: field.type for field in fields(EpochMetrics)} | {"stuck": int}
    known = {name: kinds[name] for name in columns}
    if set(row) != set(known) or row["epoch"] != number:
        raise ValueError(f"row {number} of the history has other names or another epoch")
    for name, kind in known.items():
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise ValueError(f"{name} of epoch {number} is {value!r:.40}")
        if kind is not str and not (0 <= value <= _COUNT_MAX and isfinite(value)):
            raise ValueError(f"{name} of epoch {number} is {value!r:.40}")
        if name.endswith("accuracy") and value > 1:
            raise ValueError(f"{name} of epoch {number} is {value:g}, above 1")
    digest = row["array_sha256"]
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"array_sha256 of epoch {number} is not a digest")


def _check_positions(positions: dict[str, Any]) -> None:
    """Raise ValueError unless these are the positions of a board, or those of several."""
    several = "further" in positions
    first, further = dict(positions), positions["further"] if several else []
    first.pop("further", None)
    if several and not (isinstance(further, list) and 1 <= len(further) < MAX_BOARDS):
        raise ValueError(f"positions must be those of 1..{MAX_BOARDS} boards")
    for one in (first, *further):
        _check_integers("positions", one, ("programming", "read"), POSITION_MAX)


def _check_counters(counters: dict[str, Any]) -> None:
    attempts = counters["attempts"]
    if not isinstance(attempts, list) or len(attempts) != MAX_STATES:
        raise ValueError(f"attempts must be a list of {MAX_STATES}")
    numbered = {f"attempts[{level}]": count for level, count in enumerate(attempts)}
    _check_integers("counters", numbered, numbered, _COUNT_MAX)
    names = [field.name for field in fields(Counters) if field.name != "attempts"]
    others = {name: value for name, value in counters.items() if name != "attempts"}
    _check_integers("counters", others, names, _COUNT_MAX)


def _check_integers(what: str, values: dict[str, Any], names: Iterable[str], most: int) -> None:
    if set(values) != set(names):
        raise ValueError(f"{what} has the names {', '.join(sorted(map(str, values)))}")
    for name, value in values.items():
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{name} must be an integer of 0..{most}, not {value!r:.40}")
