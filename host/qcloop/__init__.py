"""qcloop: hardware-in-the-loop emulation of quantized-conductance memristor networks."""

__version__ = "0.1.0"
