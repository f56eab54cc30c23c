"""What a host leaves on a board that works ahead, for whoever takes the run over (``qcloop attach``)."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcloop.errors import RunError
from qcloop.run.checkpoint import Arrays
from qcloop.training.trainer import Trainer

#: Most bytes of a note: the board keeps it with the answers of the epochs, in 4,096 bytes.
_MOST = 2500
_MOST_TEXT = 1 << 20


@dataclass(frozen=True)
class Note:
    """The content of a note."""

    #: The configuration of the run.
    config: dict[str, Any]
    #: The run as it was when the array was configured last, as a checkpoint holds it.
    start: list[list[int]]
    values: dict[str, Any]

    def state(self, trainer: Trainer) -> tuple[Arrays, dict[str, Any]]:
        """Return the state of the run when the board began; the cells, which the board has, are zeros."""
        arrays: Arrays = {
            "start": np.array(self.start, np.int64),
            "picked": np.zeros(self.values["progress"]["image"]),
            "predictions": np.zeros(0, np.uint8),
        }
        for layer in trainer.network.layers:
            shape = layer.region.rows, layer.region.cols
            arrays |= {
                f"layer{layer.index}.cell_levels": np.zeros(shape, np.uint8),
                f"layer{layer.index}.cell_codes": np.zeros(shape, np.int16),
                f"layer{layer.index}.accumulators": np.zeros(shape, np.int16),
            }
        return arrays, self.values


def write_note(config: dict[str, Any], trainer: Trainer) -> bytes:
    """Return the bytes of a note; none if it would be longer than a board keeps."""
    start, values = trainer.at_configuration()
    content = {"config": config, "start": start.tolist(), "values": values}
    packed = zlib.compress(json.dumps(content).encode(), 9)
    return packed if len(packed) <= _MOST else b""


def read_note(packed: bytes) -> Note:
    """Return the content of a note; RunError if it is none."""
    try:
        return Note(**json.loads(zlib.decompressobj().decompress(packed, _MOST_TEXT)))
    except (zlib.error, ValueError, TypeError) as error:
        raise RunError(
            f"the board keeps no description of its run that this release reads ({error})"
        ) from error
