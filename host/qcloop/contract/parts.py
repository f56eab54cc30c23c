"""The parts of an array: functions that a build may leave out, so that it fits a smaller chip.

What a setting needs stands in its row of :data:`qcloop.contract.types.SETTINGS`, what an operation needs in
:data:`qcloop.contract.operations.NEEDED`. To add a part, add a member here, and what needs it there.
"""

from collections.abc import Iterable
from enum import IntFlag
from functools import reduce
from operator import or_
from typing import NamedTuple

from qcloop.errors import ConfigError


class ArrayPart(IntFlag):
    """A part; several of them are joined with ``|``. INFO tells them in a byte."""

    #: The generator of read noise, and its addition to each code that a product reads.
    READ_NOISE = 1
    #: The ADC stage behind forward products.
    CONVERTER = 2
    #: The policy ``verify``: reading a cell back, judging it, trying again.
    VERIFY = 4
    #: The training step, made by the array itself, and the second plane of the memory, which it needs.
    LEARNING = 8
    #: A memory with a set of images, and training on them without a byte from the host.
    IMAGES = 16
    #: A gain and an offset of each cell, and their effect on what is programmed.
    VARIATION = 32
    #: The operation that ages cells.
    RELAXATION = 64
    #: The writes that each cell has left, and its end.
    ENDURANCE = 128


class _Words(NamedTuple):
    """What messages say of a part."""

    #: What an array without it does not have.
    name: str
    #: How a user does without it.
    advice: str


_WORDS = {
    ArrayPart.READ_NOISE: _Words("read noise", "leave --read-noise out"),
    ArrayPart.CONVERTER: _Words("converter", "leave --adc-bits out"),
    ArrayPart.VERIFY: _Words("policy verify", "choose another --policy"),
    ArrayPart.LEARNING: _Words("training step of its own", "leave --step array out"),
    ArrayPart.IMAGES: _Words("images of its own", "leave --order board out"),
    ArrayPart.VARIATION: _Words(
        "variation between devices", "set --variation-gain and --variation-offset to 0"
    ),
    ArrayPart.RELAXATION: _Words("ageing", "leave --age-per-epoch out"),
    ArrayPart.ENDURANCE: _Words("limit of writes", "leave --endurance out"),
}

#: All parts there are.
ALL_PARTS = reduce(or_, ArrayPart)
#: The parts of an array unless a user asks for others.
STANDARD_PARTS = ArrayPart.READ_NOISE | ArrayPart.CONVERTER | ArrayPart.VERIFY
#: Those with the training step.
LEARNING_PARTS = STANDARD_PARTS | ArrayPart.LEARNING


def part_labels(parts: ArrayPart) -> list[str]:
    """Return the spelling of each part on the command line, for example ``read-noise``."""
    return [str(part.name).lower().replace("_", "-") for part in ArrayPart if part in parts]


def parts_of(labels: Iterable[str]) -> ArrayPart:
    """Return the parts spelled so; raises ConfigError for one that there is not."""
    known = dict(zip(part_labels(ALL_PARTS), ArrayPart, strict=True))
    parts = ArrayPart(0)
    for label in labels:
        if label not in known:
            raise ConfigError(f"unknown part '{label}': expected {', '.join(known)}")
        parts |= known[label]
    return parts


def describe_parts(parts: ArrayPart) -> str:
    """Return in words which parts there are, as they differ from the standard parts.

    For example ``standard parts``, ``with learning`` or ``with learning, without read-noise, verify``.
    """
    added, lacking = part_labels(parts & ~STANDARD_PARTS), part_labels(STANDARD_PARTS & ~parts)
    words = [
        f"{word} {', '.join(labels)}" for word, labels in (("with", added), ("without", lacking)) if labels
    ]
    return ", ".join(words) or "standard parts"


def describe_absence(parts: ArrayPart) -> str:
    """Return in words that there are none of some parts: ``no read noise and no converter``."""
    return " and ".join(f"no {_WORDS[part].name}" for part in parts)


def describe_lack(part: ArrayPart) -> str:
    """Return what is wrong with asking for a part that an array lacks, and what to do."""
    return f"{describe_absence(part)}: {_WORDS[part].advice}, or use a build that has it"


def check_parts(parts: int) -> None:
    """Raise ConfigError if there are bits of parts that are not known."""
    # As plain integers, because a flag's complement has known bits only.
    if unknown := int(parts) & ~int(ALL_PARTS):
        raise ConfigError(
            f"the parts of an array must be bits of {ALL_PARTS:#04x} ({', '.join(part_labels(ALL_PARTS))}), "
            f"not {parts:#04x}: this release knows no part {unknown:#04x}"
        )
