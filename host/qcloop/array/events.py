"""What the golden model counts while it programs and multiplies."""

from enum import IntEnum


class EventIndex(IntEnum):
    """Indices of the event counters, an int64 array of ``len(EventIndex)``."""

    #: SET pulses and RESET pulses.
    SET = 0
    RESET = 1
    #: Cells that were to be programmed, and those of them that policy ``VERIFY`` gave up on.
    PROGRAMMED = 2
    UNVERIFIED = 3
    #: Draws below 0 or above the largest code.
    CLIPPED = 4
    #: Products that the converter saturated.
    SATURATED = 5
