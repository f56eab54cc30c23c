"""The contents of a run folder, read without an array: for reports, and for results in Python."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import Counters, Policy
from qcloop.crossbar.endurance import Endurance, writes_done
from qcloop.crossbar.ledger import WriteLedger
from qcloop.crossbar.moves import LevelCounts, count_levels
from qcloop.crossbar.physics import Cost, cost, cost_of_moves
from qcloop.data import Dataset, encode_inputs
from qcloop.device import DeviceProfile, profile_from_dict
from qcloop.errors import DataError, RunError
from qcloop.run.ageing import read_age
from qcloop.run.checkpoint import Arrays
from qcloop.run.folder import CHECKPOINT, load_run_data, read_config, read_state
from qcloop.run.state import check_predictions
from qcloop.table import ResultTable
from qcloop.text import typed
from qcloop.training.checks import check_run
from qcloop.training.progress import EpochMetrics
from qcloop.training.read_energy import READ_IMAGES
from qcloop.training.settings import RunSettings, Step
from qcloop.training.trainer import image_read_energy


@dataclass(frozen=True)
class RunContents:
    """The contents of a run folder at a checkpoint, after one epoch or more."""

    config: dict[str, Any]
    settings: RunSettings
    profile: DeviceProfile
    arrays: Arrays
    history: list[EpochMetrics]
    #: Images that are done in the present epoch.
    image: int
    counters: Counters
    #: None where the array trained by itself: it does not count the writes of each cell.
    ledger: WriteLedger | None
    #: The folder.
    path: Path = Path()

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.settings.layer_sizes()) - 1

    def takes_pixels(self, index: int) -> bool:
        """Return whether the rows of a layer are the pixels of an image, one by one."""
        return index == 0 and self.settings.layers()[0].convolution is None

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.history[-1].epoch >= self.settings.epochs

    @property
    def cells(self) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]]:
        """Levels and codes of each layer, (rows, cols) each."""
        return [
            (self.arrays[f"layer{index}.cell_levels"], self.arrays[f"layer{index}.cell_codes"])
            for index in range(self.layers)
        ]

    @property
    def writes(self) -> list[npt.NDArray[np.uint32]]:
        """(rows, cols) writes of the cells of each layer; no layer where nobody counted them."""
        if self.settings.endurance is not None and self.ledger is None:
            endurance = Endurance(self.settings)
            left = [self.arrays[f"layer{index}.left"] for index in range(self.layers)]
            return [writes_done(endurance.draw(each.shape), each) for each in left]
        if self.ledger is None:
            return []
        return [writes.reshape(self.ledger.shape(index)) for index, writes in enumerate(self.ledger.writes)]

    @cached_property
    def cost(self) -> Cost:
        """Pulses, endurance, programming time and write energy so far, and the energy of reading an image.

        The latter is None as well where the data of the run are not there any more.
        """
        return replace(self._write_cost, image_read_energy_j=self._image_read_energy)

    @property
    def _image_read_energy(self) -> float | None:
        settings, profile = self.settings, self.profile
        if profile.read is None or self.data is None:
            return None
        x = encode_inputs(self.data.test_images[:READ_IMAGES], settings.input_bits)
        return image_read_energy(settings, profile, self.arrays, x)

    @property
    def _write_cost(self) -> Cost:
        policy = Policy.from_label(self.settings.policy)
        if self.ledger is not None:
            return cost(self.profile, policy, self.ledger, self.counters)
        counts = LevelCounts(self.profile.states)
        counts.restore(self.arrays["start"])
        moves = counts.moves(self.counters, count_levels(levels for levels, _ in self.cells))
        return cost_of_moves(self.profile, policy, moves, self.counters, self.writes)

    @cached_property
    def ageing(self) -> ResultTable | None:
        """What ``qcloop age`` has found; None if it was not called. Raises RunError for a damaged file."""
        return read_age(self.path)

    @cached_property
    def _loaded(self) -> tuple[Dataset | None, str]:
        try:
            data = load_run_data(self.config)
        except DataError as error:
            return None, str(error)
        check_run(self.settings, self.profile, data)
        values = {"progress": {"epoch": len(self.history)}}
        check_predictions(self.arrays, values, len(data.test_labels))
        return data, ""

    @property
    def data(self) -> Dataset | None:
        """The data of the run; None if they are not there any more.

        Raises ConfigError or CheckpointError if they do not fit the run.
        """
        return self._loaded[0]

    @property
    def data_error(self) -> str:
        """Why the data are not there any more; empty if they are."""
        return self._loaded[1]

    @property
    def images(self) -> int | None:
        """Number of images in an epoch; None if it is not known."""
        return self.settings.images or (None if self.data is None else len(self.data.train_labels))

    def confusion(self) -> npt.NDArray[np.int64] | None:
        """Return the (classes, classes) counts of (true class, predicted class); None without the data."""
        if self.data is None:
            return None
        classes = self.settings.layer_sizes()[-1]
        pairs = self.data.test_labels.astype(np.int64) * classes + self.arrays["predictions"]
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def read_run(path: Path) -> RunContents:
    """Return the contents of a run folder. The run is only read, and may go on meanwhile.

    Raises
    ------
    RunError
        If there is no run, or if it has not finished an epoch.
    CheckpointError
        If its checkpoint is damaged or belongs to other settings.
    """
    config = read_config(path)
    settings, profile = RunSettings.from_dict(config["settings"]), profile_from_dict(config["profile"])
    if not (path / CHECKPOINT).exists():
        raise RunError(f"{path} has no checkpoint yet: start it by `qcloop resume {typed(path)}`")
    arrays, values = read_state(path, config)
    history = [EpochMetrics(**row) for row in values["progress"]["history"]]
    image = values["progress"]["image"]
    if not history:
        raise RunError(
            f"{path} has not finished its first epoch ({image:,} images so far): a report needs one; "
            f"go on by `qcloop resume {typed(path)}`"
        )
    ledger = None
    if settings.step is Step.HOST:
        ledger = WriteLedger(profile.states)
        for index in range(len(settings.layer_sizes()) - 1):
            ledger.add_layer(arrays[f"layer{index}.cell_codes"].shape)
        ledger.restore(arrays)
    counters = Counters.from_dict(values["counters"])
    return RunContents(config, settings, profile, arrays, history, image, counters, ledger, path)
