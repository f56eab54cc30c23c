"""Gateware of qcloop: the emulated device array in Amaranth, equal to the golden model bit for bit."""
