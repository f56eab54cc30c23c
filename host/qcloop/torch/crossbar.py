"""The array that the layers of a PyTorch network share, and what belongs to all of them."""

from dataclasses import asdict
from typing import Any

import torch

from qcloop.array import Array, GoldenArray
from qcloop.contract.types import Counters, Positions
from qcloop.crossbar import crossbar
from qcloop.crossbar.physics import Cost, array_settings, cost
from qcloop.device import resolve_device
from qcloop.errors import CheckpointError, ConfigError
from qcloop.training import compiled
from qcloop.training.settings import RunSettings, resolve

#: Settings of a run that are the script's own business here.
_SCRIPT = {
    "network",
    "batch",
    "epochs",
    "images",
    "input_bits",
    "shift",
    "activation",
    "bias",
    "rate",
    "decay",
}
#: Settings that an array brings with it.
_ARRAY = {"lanes", "cells"}


class Crossbar(crossbar.Crossbar):
    """An array of devices on which :class:`QCLinear` layers are laid out, one after the other.

    Parameters
    ----------
    device : str
        A built-in device (``ideal``, ``A``, ``B``) or a TOML file, as for ``qcloop train --device``.
    array : Array, optional
        Any backend: a golden model (the default), or what :func:`qcloop.link.ports.open_array` returns
        for a board or a virtual board. It is configured here, and the caller closes it.
    **settings
        Settings of :class:`qcloop.training.settings.RunSettings` that concern devices and updates, with
        their defaults: ``states``, ``reading``, ``sigma``, ``scheme``, ``update``, ``policy``, ``seed``,
        ``weight_range``, ``read_noise``, ``adc_bits``, ``adc_range``, ``stuck_off``, ``stuck_on``,
        ``verify_tolerance``, ``verify_tries``; without ``array`` also ``lanes`` and ``cells``.

    Raises
    ------
    ConfigError
        For a setting that is unknown, out of range, or belongs to the script.
    DeviceError
        If there is no such device.
    """

    def __init__(self, device: str = "A", *, array: Array | None = None, **settings: Any) -> None:
        foreign = sorted((_SCRIPT if array is None else _SCRIPT | _ARRAY) & set(settings))
        if foreign:
            whose = "the array" if foreign[0] in _ARRAY else "the script"
            raise ConfigError(f"{foreign[0]} is not a setting of a crossbar: {whose} decides it")
        given = {"device": device, **settings}
        if array is not None:
            given |= {"lanes": array.config.lanes, "cells": array.config.cells}
        RunSettings.from_dict(given)  # names and types; what is left out depends on the update rule
        chosen = resolve(None, given)
        self.profile = resolve_device(device, chosen.states, chosen.reading, chosen.sigma)
        array = array or GoldenArray(chosen.array_config)
        array.configure(array_settings(chosen, self.profile))
        self._counted = Counters()
        super().__init__(chosen, array, compiled)

    def counters(self) -> Counters:
        """Return what the array counted since the crossbar was made, loaded states included."""
        return self._counted + self.array.counters()

    def cost(self) -> Cost:
        """Return writes, pulses, programming time and write energy so far."""
        return cost(self.profile, self.array.settings.policy, self.ledger, self.counters())

    def state_dict(self) -> dict[str, Any]:
        """Return generators, counters and writes; with the state of the layers, training goes on bit for bit.

        The devices themselves are in the ``state_dict`` of the layers.
        """
        return {
            "settings": self._identity(),
            "positions": asdict(self.array.positions()),
            "rounding": self.rounding_position,
            "counters": asdict(self.counters()) | {"attempts": list(self.counters().attempts)},
            "writes": {name: torch.from_numpy(v.copy()) for name, v in self.ledger.state().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put generators, counters and writes to a :meth:`state_dict`.

        Raises
        ------
        CheckpointError
            If it is of a crossbar with other settings or other layers; nothing is changed then.
        """
        try:
            for name, ours in self._identity().items():
                theirs = state["settings"][name]
                if theirs != ours:
                    raise CheckpointError(f"the state is of a crossbar with {name} {theirs}, not {ours}")
            positions, counted = Positions(**state["positions"]), Counters.from_dict(state["counters"])
            writes = {name: tensor.numpy() for name, tensor in state["writes"].items()}
            ours = {name: array.shape for name, array in self.ledger.state().items()}
            theirs = {name: array.shape for name, array in writes.items()}
            if theirs != ours:
                raise CheckpointError(f"the state is of a crossbar with layers {theirs}, not {ours}")
            self.rounding_position = state["rounding"]
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"this is not the state of a crossbar: {error!r}") from error
        self.array.configure(self.array.settings, positions)
        self.ledger.restore(writes)
        self._counted = counted

    def _identity(self) -> dict[str, Any]:
        """Return the settings that decide how training goes on; the device is its table."""
        noise = self.settings.read_noise > 0  # lanes order the read noise, nothing else
        others = _SCRIPT | {"device", "states", "reading", "sigma", "cells"} | (set() if noise else {"lanes"})
        settings = {name: value for name, value in self.settings.to_dict().items() if name not in others}
        array = self.array.settings
        return settings | {"mean codes": list(array.mean), "spread codes": list(array.spread)}
