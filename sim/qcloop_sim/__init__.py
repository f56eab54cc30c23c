"""The gateware compiled to programs: fast engines for co-simulation, and virtual boards."""
