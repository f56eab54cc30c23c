"""The array that the layers of a PyTorch network share, and what belongs to all of them."""

from dataclasses import asdict, fields, replace
from typing import Any, NoReturn, Self

import torch

from qcloop.array import Array, ArrayGroup, GoldenArray, golden_model
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import ArrayConfig, Counters, Positions
from qcloop.crossbar.ageing import AgeingSteps
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import Cost, array_settings, cost
from qcloop.crossbar.settings import AS_BEFORE, CrossbarSettings
from qcloop.crossbar.wiring import Wires
from qcloop.device import Relaxation, resolve_device, resolve_relaxation, seconds_of, shown_time
from qcloop.errors import CheckpointError, ConfigError, DeviceError

#: Settings that name the device. What decides how training goes on is the table that they stand for.
_DEVICE = {"device", "states", "reading", "sigma", "variation_gain", "variation_offset", "chip"}
#: Settings that older states do not have, with what those did.
_LATER = {"cells_per_weight": 1, **AS_BEFORE}


class Crossbar(LayeredCrossbar):
    """An array of devices on which :class:`QCLinear` layers are laid out, one after another.

    Parameters
    ----------
    device : str
        A built-in device (``ideal``, ``A``, ``B``) or a TOML file, as for ``qcloop train --device``.
    array : Array, optional
        Any backend: a golden model (the default), or what :func:`qcloop.link.ports.open_array` returns
        for a board or a virtual board. It is configured here, and the caller closes it.
    **settings
        Fields of :class:`qcloop.crossbar.settings.CrossbarSettings`, with their defaults: ``states``,
        ``reading``, ``sigma``, ``scheme``, ``cells_per_weight``, ``ratio``, ``update``, ``policy``,
        ``seed``, ``weight_range``, ``read_noise``, ``adc_bits``, ``adc_range``, ``stuck_off``, ``stuck_on``,
        ``variation_gain``, ``variation_offset``, ``chip``, ``threshold``, ``endurance``,
        ``endurance_spread``, ``verify_tolerance``, ``verify_tries``, ``tile_rows``, ``tile_cols``,
        ``input_encoding``, ``wire_resistance``, ``wire_model``. Without ``array`` there are ``lanes`` and
        ``cells`` as well. ``tile_rows`` and ``tile_cols`` are a number for all layers, or numbers and None
        for the layers in the order in which they are added.

    Raises
    ------
    ConfigError
        For a setting that is unknown or out of range, or that ``array`` brings with it.
    DeviceError
        If there is no such device.
    """

    def __init__(self, device: str = "A", *, array: Array | None = None, **settings: Any) -> None:
        given = {"device": device, **settings}
        if array is not None:
            shape = [name for name in (*(f.name for f in fields(ArrayConfig)), "boards") if name in settings]
            if shape:
                raise ConfigError(f"{shape[0]} is not a setting of this crossbar: the array decides it")
            given |= {"lanes": array.config.lanes, "cells": array.board_config.cells}
            given |= {"boards": array.boards}
        CrossbarSettings.check_types(given)
        chosen = CrossbarSettings.resolve(given)
        self.profile = resolve_device(device, chosen.states, chosen.reading, chosen.sigma)
        chosen = chosen.on(self.profile)
        chip = Chip.of(chosen, self.profile)
        if array is None:
            config = chosen.array_config
            config = replace(config, parts=config.parts | ArrayPart.RELAXATION)
            array = golden_model(config, chosen.boards)
        array.configure(array_settings(chosen, self.profile))
        self._counted = Counters()
        self._law: Relaxation | None = None
        self._ages: list[float] = []
        super().__init__(chosen, array, chip=chip, wires=Wires.of(chosen, self.profile))

    def counters(self) -> Counters:
        """Return what the array counted since the crossbar was made, loaded states included."""
        return self._counted + self.array.counters()

    def cost(self) -> Cost:
        """Return writes, pulses, programming time and write energy so far."""
        return cost(self.profile, self.array.settings.policy, self.ledger, self.counters())

    def age_to(self, time: float | str, relaxation: str | Relaxation | None = None) -> None:
        """Let the devices of all layers age until a time, counted from when they began to age.

        The accumulators of the optimizers do not change, so training goes on with devices that have moved.

        Parameters
        ----------
        time : float or str
            In seconds, or as text: ``"1h"``, ``"10y"``. Times must rise from call to call.
        relaxation : str or Relaxation, optional
            What time does: a name or file as for ``qcloop age --relaxation``, or a law. The device's own one
            if it is left out, or the one that was given before.

        Raises
        ------
        ConfigError
            If ``time`` is no time or not behind the last one, or if the devices age by another law already.
        DeviceError
            If no law is known, or the law does not fit the device.
        ArrayError
            If the array of a board has no ageing.
        """
        law = self._law_of(relaxation)
        seconds, aged = seconds_of(time), self._ages[-1] if self._ages else 0.0
        if seconds <= aged:
            raise ConfigError(
                f"the devices have aged for {shown_time(aged)} already: give a later time than "
                f"{shown_time(seconds)}"
            )
        self.age(*self._steps(law, self._ages).step(seconds))
        self._law, self._ages = law, [*self._ages, seconds]

    def _law_of(self, relaxation: str | Relaxation | None) -> Relaxation:
        named = resolve_relaxation(relaxation) if isinstance(relaxation, str) else relaxation
        law = named or self._law or self.profile.relaxation
        if law is None:
            raise DeviceError(
                f"device {self.profile.name} has no [relaxation]: say what time does to it by relaxation=, "
                "cmo-hfox, wan-2022 or a TOML file"
            )
        if self._law not in (None, law):
            raise ConfigError("these devices age by another relaxation already: leave relaxation out")
        return law

    def _steps(self, law: Relaxation, ages: list[float]) -> AgeingSteps:
        """Return what ages the devices on from where they are."""
        steps = AgeingSteps(self.profile, law)
        for seconds in ages:
            steps.step(seconds)
        return steps

    def state_dict(self) -> dict[str, Any]:
        """Return the state of generators, counters and writes.

        The devices themselves are in the ``state_dict`` of the layers. With both, training goes on bit for
        bit.
        """
        return {
            "settings": self._identity(),
            "positions": self.array.positions().to_dict(),
            "rounding": self.rounding_position,
            "counters": asdict(self.counters()) | {"attempts": list(self.counters().attempts)},
            "writes": {name: torch.from_numpy(v.copy()) for name, v in self.ledger.state().items()},
            "ages": list(self._ages),
            "relaxation": asdict(self._law) if self._law else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put generators, counters and writes back to a :meth:`state_dict`.

        Raises
        ------
        CheckpointError
            If the state is of a crossbar with other settings or other layers. Nothing is changed then.
        """
        try:
            mine = self._identity()
            other = {name: _LATER[name] for name in _LATER if name in mine} | state["settings"]
            for name in mine | other:
                ours, theirs = mine.get(name), other.get(name)
                if theirs != ours:
                    raise CheckpointError(f"the state is of a crossbar with {name} {theirs}, not {ours}")
            positions = Positions.from_dict(state["positions"]).on(self.array.boards)
            counted = Counters.from_dict(state["counters"])
            writes = {name: tensor.numpy() for name, tensor in state["writes"].items()}
            ours = {name: array.shape for name, array in self.ledger.state().items()}
            theirs = {name: array.shape for name, array in writes.items()}
            if theirs != ours:
                raise CheckpointError(f"the state is of a crossbar with layers {theirs}, not {ours}")
            law = Relaxation(**state["relaxation"]) if state.get("relaxation") else None
            ages = list(state.get("ages", []))
            self.rounding_position = state["rounding"]
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"this is not the state of a crossbar: {error!r}") from error
        self.array.configure(self.array.settings, positions)
        self.restore_writes(writes)
        self._counted, self._law, self._ages = counted, law, ages

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy on a golden model of its own, which goes on as this one does, bit for bit.

        Raises ConfigError if the array is no golden model: there is one board.
        """
        members = self.array.members if isinstance(self.array, ArrayGroup) else (self.array,)
        if not all(isinstance(member, GoldenArray) for member in members):
            raise ConfigError(
                "a Crossbar on a board cannot be copied, since its devices are there once: make crossbar and "
                "network in the same way without array=, and load the state_dict of both"
            )
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        array = golden_model(self.array.board_config, self.array.boards)
        array.configure(self.array.settings)
        LayeredCrossbar.__init__(copied, self.settings, array, chip=self.chip, wires=self.wires)
        for layer in self.layers:
            memo[id(layer)] = copied.add_copy(layer, self.layer_state(layer))
        array.configure(self.array.settings, self.array.positions())
        copied.profile, copied._counted = self.profile, self.counters()
        copied._law, copied._ages = self._law, list(self._ages)
        copied.restore_writes(self.ledger.state())
        copied.follow(self)
        return copied

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ConfigError(
            "a Crossbar cannot be pickled or copied by copy.copy, since its devices are on an array: save "
            "the state_dict of network and crossbar, and load both into others that were made in the same "
            "way; copy.deepcopy copies it in the same process"
        )

    def _identity(self) -> dict[str, Any]:
        """Return the settings that decide how training goes on, with the device's table for its name."""
        # Lanes order the samples of read noise and decide nothing else; capacity decides nothing. A network
        # may go on on another number of boards.
        without = _DEVICE | {"cells", "boards"} | (set() if self.settings.read_noise > 0 else {"lanes"})
        settings = {name: value for name, value in self.settings.to_dict().items() if name not in without}
        array = self.array.settings
        tables = {"mean codes": list(array.mean), "spread codes": list(array.spread)}
        variation = {} if self.chip is None else {"variation": asdict(self.chip)}
        return settings | tables | variation
