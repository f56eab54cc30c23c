"""A network whose weights are devices of an array: the array multiplies, the host does the rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import U8, Counters
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.layer import Layer
from qcloop.crossbar.physics import Cost, cost
from qcloop.crossbar.placement import words_of
from qcloop.device import DeviceProfile
from qcloop.errors import ConfigError
from qcloop.training import compiled
from qcloop.training.chain import Chain, check_finite
from qcloop.training.geometry import LayerShape
from qcloop.training.kernels import F64, LayerKernels
from qcloop.training.memory import images_at_once
from qcloop.training.settings import Bias, RunSettings


def add_layers(settings: RunSettings, crossbar: LayeredCrossbar, shapes: Sequence[LayerShape]) -> list[Layer]:
    """Lay out the layers of a network.

    Raises ConfigError if they do not fit the array. Nothing is laid out in that case.
    """
    config, placement = crossbar.array.config, crossbar.placement.copy()
    cuts = [crossbar.cut(index, shape.rows, shape.cols) for index, shape in enumerate(shapes)]
    tiles = [tile for cut in cuts for tile in cut.shapes()]
    words = words_of(config, tiles)
    if words > config.words:
        raise ConfigError(
            f"network {settings.network} needs {words * config.lanes} cells ({settings.scheme}, "
            f"{config.lanes} lanes), but the array has {config.cells}: "
            "use a smaller network or more cells"
        )
    for index, shape in enumerate(shapes):
        crossbar.place(index, shape.rows, shape.cols, placement)
    if placement.boards_used < crossbar.array.boards:
        raise ConfigError(
            f"network {settings.network} is cut into {len(tiles)} tile{'s' * (len(tiles) != 1)}, too few for "
            f"{crossbar.array.boards} boards: use fewer boards, or smaller tiles by tile-rows or tile-cols"
        )
    return [
        crossbar.add_layer(
            shape.rows,
            shape.cols,
            settings.input_bits if index == 0 else 8,
            wide=shape.convolution is not None,  # a batch has many vectors
        )
        for index, shape in enumerate(shapes)
    ]


class Network:
    """Layers that feed one another, trained by back-propagation through the array's own products.

    Parameters
    ----------
    settings : RunSettings
    crossbar : LayeredCrossbar
        Without layers yet; those of the network are laid out here.
    kernels : LayerKernels
        Module ``qcloop.training.compiled`` (default) or ``qcloop.training.reference``. Both give the same
        bits.

    Attributes
    ----------
    call_images : int
        Images that :meth:`train` takes at once: a batch.

    Raises
    ------
    ConfigError
        If the layers do not fit the array.
    """

    def __init__(
        self, settings: RunSettings, crossbar: LayeredCrossbar, kernels: LayerKernels = compiled
    ) -> None:
        self.crossbar, self._kernels = crossbar, kernels
        self._biases = settings.bias is Bias.FLOAT
        self.call_images = settings.batch
        shapes = settings.layers()
        self.layers = add_layers(settings, crossbar, shapes)
        convolutions = [shape.convolution for shape in shapes]
        self._chain = Chain(crossbar, self.layers, settings.activation, kernels, convolutions)
        self._predicted_at_once = images_at_once(shapes)

    def initialise(self) -> None:
        """Program random weights into all layers, and make the stuck cells stuck."""
        for layer in self.layers:
            self.crossbar.initialise(layer)

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        most = self._predicted_at_once
        if len(x) <= most:
            return self._chain.predict(x)
        return np.concatenate([self._chain.predict(x[i : i + most]) for i in range(0, len(x), most)])

    def vectors(self, x: U8) -> list[tuple[npt.NDArray[Any], F64]]:
        """Return the vectors that each layer multiplies for (n, inputs) images, and their scales."""
        return self._chain.vectors(x)

    def refresh(self) -> None:
        """Use scales of layers that were changed: they are read at each product, so nothing is to do."""

    def train(self, x: U8, labels: U8, rate: float, picked: F64) -> tuple[int, int]:
        """Do one step of gradient descent on a batch, of at most :attr:`call_images` images.

        Parameters
        ----------
        x, labels : (n, inputs) uint8 and (n,) uint8
        rate : float
            Learning rate; the gradient is that of the mean cross-entropy of the batch.
        picked : (n,) float64
            Filled with the probability the network gave to each label before the step.

        Returns
        -------
        hits : int
            Images that were classified correctly before the step.
        penalty : int
            0. A network that the array trains tells its loss by this number instead of ``picked``.

        Raises
        ------
        DivergenceError
            If a number is no longer finite. The layers are then of no use: go back to a checkpoint.
        """
        batch, n = self._chain.batch(x), len(x)
        hits = self._chain.propagate(batch, labels, picked)
        # Devices are programmed only now: the errors had to go back through the cells of the forward pass.
        for index in reversed(range(len(self.layers))):
            layer, (x, x_scale, delta) = self.layers[index], batch.vectors(index)
            self.crossbar.update(layer, x, x_scale, delta, rate / n)
            if self._biases:
                self._kernels.descend_bias(layer.bias, delta, rate / n)
                check_finite("the bias", layer, layer.bias)
        return hits, 0

    @staticmethod
    def loss(picked: F64, penalty: int) -> float:
        """Return the mean cross-entropy of the images of an epoch, from what :meth:`train` gave for them."""
        return float(-np.log(np.maximum(picked, 1e-300)).mean())

    def cost(self, profile: DeviceProfile, counters: Counters) -> Cost:
        """Return the cost of the run, from the ledger and what the array counted over the whole run."""
        return cost(profile, self.crossbar.array.settings.policy, self.crossbar.ledger, counters)

    @property
    def stuck(self) -> int:
        """Number of cells that are stuck."""
        return self.crossbar.ledger.stuck

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that a checkpoint needs of layers, cells and writes, by name."""
        state = self.crossbar.ledger.state()
        for layer in self.layers:
            own = self.crossbar.layer_state(layer)
            state |= {f"layer{layer.index}.{name}": value for name, value in own.items()}
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put layers, cells and writes back to a :meth:`state`."""
        self.crossbar.restore_writes(state)
        for layer in self.layers:
            prefix = f"layer{layer.index}."
            own = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
            self.crossbar.restore_layer(layer, own)
