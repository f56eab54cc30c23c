"""Places of the event counts in the golden model's tally, an int64 array of ``SIZE``."""

SET, RESET, PROGRAMMED, UNVERIFIED, CLIPPED, SATURATED, SIZE = range(7)
