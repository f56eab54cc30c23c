"""A table of a network's device layers: what ``numel`` of its parameters does not tell."""

from dataclasses import dataclass

from torch import nn

from qcloop.torch.layer import DeviceLayer, DeviceWeights


@dataclass(frozen=True)
class LayerSummary:
    """A device layer of a network, and where its devices are."""

    #: Path in the network, as ``named_modules`` spells it.
    path: str
    #: ``QCLinear`` or ``QCConv2d``.
    kind: str
    #: Shape of the weights.
    shape: tuple[int, ...]
    inputs: str
    weights: int
    devices: int
    #: First word of the array that the devices take, and the first one behind the last.
    words: tuple[int, int]
    #: Largest weight.
    weight_max: float
    #: Weights that were clipped when weights were written last; None if none were written.
    clipped: int | None
    #: Mean magnitude of (weight of the devices - weight that was written); None likewise.
    mean_error: float | None


@dataclass(frozen=True)
class NetworkSummary:
    """The device layers of a network; printing it shows a table."""

    layers: tuple[LayerSummary, ...]
    #: Numbers in all other parameters, such as biases.
    floats: int

    @property
    def weights(self) -> int:
        """Number of weights that are devices."""
        return sum(layer.weights for layer in self.layers)

    @property
    def devices(self) -> int:
        """Number of devices."""
        return sum(layer.devices for layer in self.layers)

    def __repr__(self) -> str:
        written = any(layer.clipped is not None for layer in self.layers)
        rows = [["layer", "kind", "weights", "inputs", "devices", "words", "largest weight"]]
        rows[0] += ["clipped", "mean error"] if written else []
        for layer in self.layers:
            first, end = layer.words
            row = [layer.path or "(itself)", layer.kind, " x ".join(map(str, layer.shape)), layer.inputs]
            row += [f"{layer.devices:,}", f"{first}..{end - 1}", f"{layer.weight_max:.4g}"]
            if written and layer.mean_error is not None:
                row += [f"{layer.clipped:,}", f"{layer.mean_error:.2g}"]
            rows.append(row + [""] * (len(rows[0]) - len(row)))
        rows.append(["total", "", f"{self.weights:,}", "", f"{self.devices:,}"] + [""] * (len(rows[0]) - 5))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.floats:,} floats beside the devices"])


def _words(layer: DeviceLayer) -> tuple[int, int]:
    config, regions = layer.crossbar.array.config, layer.on_array.cells.regions
    return min(region.base for region in regions), max(region.end(config) for region in regions)


def summary(net: nn.Module) -> NetworkSummary:
    """Return the device layers of a network, with their devices and where they are on the array.

    Parameters
    ----------
    net : nn.Module

    Returns
    -------
    NetworkSummary
        Has the layers, their totals, and the number of float parameters. ``print`` shows it as a table.
    """
    layers = [
        LayerSummary(
            path=path,
            kind=type(layer).__name__,
            shape=layer.weight_shape,
            inputs=str(layer.inputs),
            weights=layer.n_weights,
            devices=layer.n_devices,
            words=_words(layer),
            weight_max=layer.weight_max,
            clipped=layer.written.clipped if layer.written else None,
            mean_error=layer.written.mean_error if layer.written else None,
        )
        for path, layer in net.named_modules()
        if isinstance(layer, DeviceLayer)
    ]
    floats = sum(p.numel() for p in net.parameters() if not isinstance(p, DeviceWeights))
    return NetworkSummary(tuple(layers), floats)
