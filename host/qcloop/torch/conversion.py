"""A float network becomes one on devices: its layers are programmed with the float weights."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from qcloop.errors import ConfigError
from qcloop.torch.conv import QCConv2d, check_geometry
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs
from qcloop.torch.layer import DeviceLayer
from qcloop.torch.linear import QCLinear

#: Modules whose weights multiply vectors, and that no device layer can take the place of.
_UNABLE = (
    *(nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention),
)


def convert(
    model: nn.Module,
    crossbar: Crossbar,
    inputs: Inputs | str | Mapping[str, Inputs | str] | None = None,
    *,
    calibration: torch.Tensor | tuple[Any, ...] | None = None,
    percentile: float = 100.0,
    keep: Collection[str] = (),
    strict: bool = True,
) -> nn.Module:
    """Return a copy of a network in which each nn.Linear and nn.Conv2d is a layer of devices.

    The devices are programmed once, with the fluctuation of a write, to the levels nearest to the float
    weights. Biases, dtypes and all other modules are copied. ``model`` stays as it is.
    :func:`qcloop.torch.summary` tells what was converted, and how far the devices are from the weights.

    Parameters
    ----------
    model : nn.Module
        The network, or a single nn.Linear or nn.Conv2d.
    crossbar : Crossbar
        Takes the layers in the order in which the network defines them.
    inputs : Inputs or str, or a mapping of paths to them, optional
        What the inputs of the layers are: for all of them, or for each by its path, as ``named_modules``
        spells it. Layers that are left out have ``signed`` inputs, which may be any numbers, or what
        ``calibration`` tells.
    calibration : Tensor or tuple, optional
        Inputs of the network, or its arguments. The float network is run on them in evaluation mode. A layer
        that gets numbers below 0 has ``signed`` inputs, one that gets nothing but 0 and 1 ``binary`` ones,
        and any other ``scaled`` ones.
    percentile : float
        Percentile of a layer's magnitudes that becomes its largest weight. With 100 that is the largest
        magnitude. With less, the weights beyond are clipped, and the levels of the others are finer.
    keep : collection of str
        Paths of modules that stay float, with all that is in them.
    strict : bool
        Whether a module that cannot be converted is an error. Otherwise it stays as it is.

    Returns
    -------
    nn.Module
        A :class:`QCLinear` or :class:`QCConv2d` where the model is a single layer.

    Raises
    ------
    ConfigError
        If a module cannot be converted, an argument is not as described, or the array has no room. Nothing
        is laid out or programmed then.
    """
    if not (isinstance(model, nn.Module) and isinstance(crossbar, Crossbar)):
        came = f"{type(model).__name__} and {type(crossbar).__name__}"
        raise ConfigError(f"convert takes a torch.nn.Module and a qcloop.torch.Crossbar, not {came}")
    if not (isinstance(percentile, (int, float)) and 0 < percentile <= 100):
        raise ConfigError(f"percentile must be above 0 and at most 100, not {percentile!r}")
    paths = _candidates(model, [keep] if isinstance(keep, str) else keep, strict)
    _check_room({path: model.get_submodule(path) for path in paths}, crossbar)
    kept = {id(layer): layer for layer in model.modules() if isinstance(layer, DeviceLayer)}
    net = copy.deepcopy(model, kept)  # device layers stay on their array, in both networks
    layers = {path: net.get_submodule(path) for path in paths}
    coded = _inputs(inputs, layers, net, calibration)
    for path, layer in layers.items():
        new = _on_devices(layer, crossbar, coded[path], percentile)
        for alias in paths[path]:
            parent, _, name = alias.rpartition(".")
            if alias:
                setattr(net.get_submodule(parent), name, new)
            else:
                net = new
    return net


def _candidates(model: nn.Module, keep: Collection[str], strict: bool) -> dict[str, list[str]]:
    """Return the paths of the modules to be converted, each with all paths that lead to it."""
    known = [path for path, _ in model.named_modules(remove_duplicate=False)]
    for path in keep:
        if path not in known:
            raise ConfigError(f"keep has '{path}', but the network has no module of that path")
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            owners.setdefault(id(parameter), set()).add(id(module))
    found: dict[int, list[str]] = {}
    problems: list[tuple[str, str]] = []
    for path, module in _walk(model, "", keep):
        problem = _problem(module, owners)
        if problem:
            problems.append((path, f"{_label(path)} ({type(module).__name__}) {problem}"))
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            found.setdefault(id(module), []).append(path)
    if problems and strict:
        (path, problem), more = problems[0], len(problems) - 1
        others = f"; {more} more cannot be converted" if more else ""
        cure = f": leave it as it is by keep=['{path}'], or all that cannot by strict=False" if path else ""
        raise ConfigError(f"{problem}{others}{cure}")
    if not found:
        raise ConfigError(f"the {type(model).__name__} has no nn.Linear or nn.Conv2d to be converted")
    return {paths[0]: paths for paths in found.values()}


def _label(path: str) -> str:
    """Return what a message calls the module of a path."""
    return f"'{path}'" if path else "the model"


def _walk(module: nn.Module, path: str, keep: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module and those in it with their paths, without what is kept and what cannot be converted."""
    if path in keep:
        return
    yield path, module
    if not isinstance(module, (*_UNABLE, DeviceLayer)):
        for name, child in module._modules.items():
            if child is not None:
                yield from _walk(child, f"{path}.{name}" if path else name, keep)


def _problem(module: nn.Module, owners: Mapping[int, set[int]]) -> str | None:
    """Return why a module cannot be converted, None if it can or need not be."""
    if isinstance(module, DeviceLayer):
        return "is a device layer already"
    if isinstance(module, _UNABLE):
        return "cannot be converted: only nn.Linear and nn.Conv2d can"
    if not isinstance(module, (nn.Linear, nn.Conv2d)):
        return None
    if type(module) not in (nn.Linear, nn.Conv2d):
        return "cannot be converted: it is a subclass, which may compute something else"
    weight = module.weight
    if len(owners[id(weight)]) > 1:
        return "cannot be converted: its weight is a parameter of another module as well (tied)"
    if not weight.is_floating_point() or not bool(torch.isfinite(weight).all()):
        return f"cannot be converted: its weights ({weight.dtype}) are not all finite real numbers"
    if isinstance(module, nn.Conv2d):
        try:
            check_geometry(module.groups, module.padding_mode)
        except ConfigError as error:
            return f"cannot be converted: {error}"
    return None


def _check_room(layers: Mapping[str, nn.Module], crossbar: Crossbar) -> None:
    """Raise ConfigError unless the array has room for all layers, and tiles have sides for no others.

    The error names the path of the layer for which there is no room.
    """
    placement, before = crossbar.placement.copy(), len(crossbar.layers)
    for index, (path, layer) in enumerate(layers.items(), before):
        cols = len(layer.weight)  # type: ignore[arg-type]
        rows = layer.weight.numel() // cols  # type: ignore[operator]
        try:
            crossbar.place(index, rows, cols, placement)
        except ConfigError as error:
            raise ConfigError(f"{_label(path)}: {error}") from error
    crossbar.settings.check_sides("with this network the crossbar", before + len(layers))


def _inputs(
    given: Inputs | str | Mapping[str, Inputs | str] | None,
    layers: Mapping[str, nn.Module],
    net: nn.Module,
    calibration: torch.Tensor | tuple[Any, ...] | None,
) -> dict[str, Inputs]:
    """Return the inputs of each layer: those that are given, and for the others what calibration tells."""
    if isinstance(given, str):
        given = dict.fromkeys(layers, given)
    chosen = {path: Inputs.named(name) for path, name in (given or {}).items()}
    for path in chosen:
        if path not in layers:
            raise ConfigError(f"inputs has '{path}', but the layers to be converted are {', '.join(layers)}")
    open_ = {path: layer for path, layer in layers.items() if path not in chosen}
    if calibration is not None and open_:
        return chosen | _calibrated(open_, net, calibration)
    return chosen | dict.fromkeys(open_, Inputs.SIGNED)


def _calibrated(
    layers: Mapping[str, nn.Module], net: nn.Module, calibration: torch.Tensor | tuple[Any, ...]
) -> dict[str, Inputs]:
    """Return what inputs some layers need, from what they get when the network runs."""
    seen: dict[str, set[Inputs]] = {path: set() for path in layers}

    def watch(path: str) -> Callable[..., None]:
        def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            x = arguments[0].detach()
            if not bool(torch.isfinite(x).all()):
                raise ConfigError(f"in calibration, {_label(path)} gets inputs that are not finite numbers")
            kind = Inputs.SIGNED if bool((x < 0).any()) else Inputs.SCALED
            seen[path].add(Inputs.BINARY if bool(((x == 0) | (x == 1)).all()) else kind)

        return note

    hooks = [layer.register_forward_pre_hook(watch(path)) for path, layer in layers.items()]
    modes = {module: module.training for module in net.modules()}
    try:
        net.eval()
        with torch.no_grad():
            net(*(calibration if isinstance(calibration, tuple) else (calibration,)))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    for path, kinds in seen.items():
        if not kinds:
            raise ConfigError(
                f"in calibration, {_label(path)} gets no inputs: give them by inputs={{'{path}': ...}}"
            )
    order = (Inputs.SIGNED, Inputs.SCALED, Inputs.BINARY)
    return {path: next(kind for kind in order if kind in kinds) for path, kinds in seen.items()}


def _on_devices(layer: Any, crossbar: Crossbar, inputs: Inputs, percentile: float) -> DeviceLayer:
    """Return a layer of devices with the weights and the bias of a float layer."""
    magnitude = layer.weight.detach().to("cpu", torch.float64).abs().numpy()
    top = float(np.percentile(magnitude, percentile)) or float(magnitude.max()) or None
    options: dict[str, Any] = {
        "bias": layer.bias is not None,
        "dtype": layer.weight.dtype,
        "weight": layer.weight,
        "weight_max": top,
        "out_of_range": "clip",
    }
    new: DeviceLayer
    if isinstance(layer, nn.Conv2d):
        options |= {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        high, wide = layer.kernel_size
        new = QCConv2d(layer.in_channels, layer.out_channels, (high, wide), crossbar, inputs, **options)
    else:
        new = QCLinear(layer.in_features, layer.out_features, crossbar, inputs, **options)
    if layer.bias is not None:
        with torch.no_grad():
            new.bias.copy_(layer.bias)  # type: ignore[union-attr]
        new.bias.requires_grad_(layer.bias.requires_grad)  # type: ignore[union-attr]
    new.devices.requires_grad_(layer.weight.requires_grad)
    return new.to(layer.weight.device).train(layer.training)
