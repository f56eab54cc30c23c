"""The gateware, compiled: co-simulation and the virtual board."""
