"""A run as a program that a board executes by itself when it is switched on."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcloop.array import GoldenArray
from qcloop.array.images import Done, Number
from qcloop.contract import operations, stored
from qcloop.contract.images import ImageSet
from qcloop.contract.order import ImageOrder
from qcloop.contract.plan import TrainingPlan
from qcloop.contract.stored import NOTE_HEAD, ImageOperation, RunCounts
from qcloop.contract.types import I8, I16, U8, ArrayConfig, ArraySettings, Positions, Region
from qcloop.device import profile_from_dict
from qcloop.errors import ConfigError
from qcloop.run.folder import load_run_data, read_config
from qcloop.run.note import write_note
from qcloop.training.settings import MAX_EPOCHS, Order, RunSettings
from qcloop.training.trainer import Trainer, run_images

#: Bytes of the operand buffer of every board.
_BUFFER = 1024
_NOTHING = RunCounts(0, 0, 0, 0, 0, 0)


class ProgramArray(GoldenArray):
    """A golden model that also writes down the requests with which a board does the same.

    It does not train: whoever asks it for epochs gets no results.
    """

    epochs_ahead = MAX_EPOCHS

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(config)
        self._requests, self._noted = bytearray(), 0

    def requests(self) -> bytes:
        """Return all requests up to now; the note among them says how many bytes come behind it."""
        requests, start = self._requests, self._noted + operations.HEADER.size
        length = operations.HEADER.unpack(bytes(requests), self._noted)[1]
        behind = len(requests) - start - length
        requests[start : start + NOTE_HEAD.size] = NOTE_HEAD.pack(self._noted, behind)
        return bytes(requests)

    def _write(self, requests: Iterable[bytes]) -> None:
        self._requests += b"".join(requests)

    # -- what is done, and written down ------------------------------------------------------------

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        super()._configure(settings, positions)
        self._write([operations.configure_request(settings, positions, self.config.lanes)])

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        super()._program(region, cells, levels)
        self._write(operations.program_requests(region, cells, levels, self.config.lanes, _BUFFER))

    def _program_block(self, region: Region, levels: U8) -> None:
        super()._program_block(region, levels)
        self._write(operations.block_requests(region, levels, self.config.lanes, _BUFFER))

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        super()._load(region, levels, codes)
        self._write(operations.load_requests(region, levels, codes, self.config.lanes))

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        super()._load_variation(region, gains, offsets)
        self._write(operations.load_variation_requests(region, gains, offsets, self.config.lanes))

    def _load_accumulators(self, region: Region, values: I16) -> None:
        super()._load_accumulators(region, values)
        self._write(operations.load_accumulator_requests(region, values, self.config.lanes))

    def _load_plan(self, plan: TrainingPlan) -> None:
        super()._load_plan(plan)
        self._write(operations.plan_requests(plan, self.settings))

    def _change_rates(self, plan: TrainingPlan) -> None:
        super()._change_rates(plan)
        self._write([operations.rates_request(plan)])

    # -- what is only written down -------------------------------------------------------------------

    def _note(self, content: bytes) -> None:
        self._noted = len(self._requests)
        self._write([stored.request(ImageOperation.NOTE, bytes(NOTE_HEAD.size) + content)])

    def _start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        self._write([stored.train_request(order, first, count, operations.image_bytes(self.plan))])
        return lambda: None

    def _start_evaluate(self, count: int) -> Number:
        self._write([stored.evaluate_request(0, count, operations.image_bytes(self.plan))])
        return lambda: 0

    def _start_summary(self) -> Callable[[], RunCounts]:
        self._write([stored.request(ImageOperation.SUMMARY)])
        return lambda: _NOTHING

    def _start_checksum(self, region: Region) -> Number:
        self._write([stored.checksum_request(region)])
        return lambda: 0


def run_alone(path: Path) -> tuple[RunSettings, ImageSet, bytes]:
    """Return the settings of a run, its images, and the program that makes the run from its beginning.

    Raises ConfigError unless it is one with the order of the board, RunError if there is no run, DataError if
    its data have changed, and ArrayError if the program is too long.
    """
    config = read_config(path)
    settings = RunSettings.from_dict(config["settings"])
    if settings.order is not Order.BOARD:
        raise ConfigError(
            f"the run in {path} has its images from the host: a board makes only runs of `qcloop train "
            "--step array --order board` by itself"
        )
    data, array = load_run_data(config), ProgramArray(settings.array_config)
    trainer = Trainer(settings, profile_from_dict(config["profile"]), data, array)
    trainer.initialise()
    array.note(write_note(config, trainer))
    next(trainer.run_epoch())  # this asks for all epochs
    return settings, run_images(settings, data), stored.encode_program(array.requests())
