"""The array in gateware: memory, generator, programmer, products, counters."""
