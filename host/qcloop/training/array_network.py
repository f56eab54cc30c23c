"""A network that the array trains by itself: the host sends images and labels, and reads what came out."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.plan import TABLE_ENTRIES, TABLE_MIDDLE, TrainingPlan
from qcloop.contract.types import U8, Counters
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.endurance import writes_done
from qcloop.crossbar.layer import Layer
from qcloop.crossbar.moves import LevelCounts, count_levels
from qcloop.crossbar.physics import Cost, cost_of_moves
from qcloop.device import DeviceProfile
from qcloop.training.exponential import LN2_HIGH, LN2_LOW
from qcloop.training.kernels import F64
from qcloop.training.network import add_layers
from qcloop.training.plan import make_plan
from qcloop.training.settings import Bias, RunSettings

#: Images in one call of the array, at least: one batch may be a single image.
_CALL = 512


class ArrayNetwork:
    """Layers whose training step is made on the array. Biases are a further row of devices in each layer.

    Parameters
    ----------
    settings : RunSettings
    crossbar : LayeredCrossbar
        Without layers yet; those of the network are laid out here.

    Raises
    ------
    ConfigError
        If the layers do not fit the array, or if their step cannot be written as a plan.
    """

    def __init__(self, settings: RunSettings, crossbar: LayeredCrossbar) -> None:
        self.crossbar, self._settings = crossbar, settings
        self._biases = int(settings.bias is Bias.DEVICE)
        shapes = [replace(shape, rows=shape.rows + self._biases) for shape in settings.layers()]
        self.layers = add_layers(settings, crossbar, shapes)
        self.call_images = settings.batch * max(1, _CALL // settings.batch)
        self._counts = LevelCounts(crossbar.array.settings.states)
        #: Rate of the plan that the array has, or None if it has none.
        self._loaded: float | None = None
        crossbar.array.check_plan(self._plan(settings.rate))

    def initialise(self) -> None:
        """Program random weights into all layers, make the stuck cells stuck, and load the plan."""
        array, plan = self.crossbar.array, self._plan(self._settings.rate)
        for layer in self.layers:
            remainders = self.crossbar.initialise(layer, zero_rows=self._biases)
            fraction = 1 << plan.fraction_bits
            values = np.zeros((layer.rows, layer.region.cols), np.int16)
            values[:, :: self.crossbar.weights.devices] = np.floor(remainders * fraction + 0.5)
            array.load_accumulators(layer.region, values)
        self._counts.start(array.counters(), self._levels())
        self._load(self._settings.rate)

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        return self.crossbar.array.classify(x)

    def vectors(self, x: U8) -> list[tuple[npt.NDArray[Any], F64]]:
        """Return the vectors that each layer multiplies for (n, inputs) images, and their scales, all 1."""
        found: list[tuple[npt.NDArray[Any], F64]] = []
        for layer, step in zip(self.layers, self._plan(self._settings.rate).layers, strict=True):
            x = np.pad(x, ((0, 0), (0, self._biases)), constant_values=layer.input_top)
            found.append((x, np.ones(len(x))))
            if step.activations:
                products = self.crossbar.weights.collapse(
                    self.crossbar.array.forward(layer.region, x, layer.bits)
                )
                index = np.clip((products >> step.shift) + TABLE_MIDDLE, 0, TABLE_ENTRIES - 1)
                x = np.frombuffer(step.activations, np.uint8)[index]
        return found

    def refresh(self) -> None:
        """Let the array use scales of layers that were changed."""
        self._load(self._settings.rate)

    def train(self, x: U8, labels: U8, rate: float, picked: F64) -> tuple[int, int]:
        """Train on images, one after the other; see :meth:`qcloop.training.network.Network.train`."""
        self.use_rate(rate)
        result = self.crossbar.array.train(x, labels)
        return result.hits, result.penalty

    def use_rate(self, rate: float) -> None:
        """Train with a rate from now on."""
        if rate != self._loaded:
            self.crossbar.array.change_rates(self._plan(rate))
            self._loaded = rate

    @staticmethod
    def loss(picked: F64, penalty: int) -> float:
        """Return the mean cross-entropy of the images of an epoch, from the sum of their penalties."""
        return penalty * (LN2_HIGH + LN2_LOW) / 256 / len(picked)

    def cost(self, profile: DeviceProfile, counters: Counters) -> Cost:
        """Return the cost of the run.

        The array does not count the writes of each cell, but it knows those left if they are limited.
        """
        moves = self._counts.moves(counters, self._levels())
        array, writes = self.crossbar.array, []
        if self._settings.endurance is not None:
            writes = [writes_done(layer.limits, array.read_endurance(layer.region)) for layer in self.layers]
        return cost_of_moves(profile, array.settings.policy, moves, counters, writes)

    @property
    def stuck(self) -> int:
        """Number of cells that are stuck."""
        return int(self._levels()[self.crossbar.array.settings.states :].sum())

    def _plan(self, rate: float) -> TrainingPlan:
        array, devices = self.crossbar.array, self.crossbar.weights.devices
        return make_plan(self._settings, array.settings, self.layers, devices, rate)

    def _load(self, rate: float) -> None:
        self.crossbar.array.load_plan(self._plan(rate))
        self._loaded = rate

    def _levels(self) -> npt.NDArray[np.int64]:
        array = self.crossbar.array
        return count_levels(array.read(layer.region)[0] for layer in self.layers)

    @property
    def start(self) -> npt.NDArray[np.int64]:
        """The (2, 64) counts when training began: see :class:`~qcloop.crossbar.moves.LevelCounts`."""
        return self._counts.state()

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that a checkpoint needs of cells and accumulators, by name."""
        state: dict[str, npt.NDArray[Any]] = {"start": self._counts.state()}
        for layer in self.layers:
            state |= {f"layer{layer.index}.{name}": value for name, value in self._layer_state(layer).items()}
        return state

    def _layer_state(self, layer: Layer) -> dict[str, npt.NDArray[Any]]:
        array = self.crossbar.array
        levels, codes = array.read(layer.region)
        limited = {"left": array.read_endurance(layer.region)} if layer.limits.size else {}
        return limited | {
            "cell_levels": levels,
            "cell_codes": codes,
            "accumulators": array.read_accumulators(layer.region),
        }

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put cells and accumulators back to a :meth:`state`."""
        array = self.crossbar.array
        self._counts.restore(state["start"])
        for layer in self.layers:
            prefix = f"layer{layer.index}."
            self.crossbar.load_variation(layer)
            array.load(layer.region, state[f"{prefix}cell_levels"], state[f"{prefix}cell_codes"])
            array.load_accumulators(layer.region, state[f"{prefix}accumulators"])
            if layer.limits.size:
                array.load_endurance(layer.region, state[f"{prefix}left"])
        self._load(self._settings.rate)
