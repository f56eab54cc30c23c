"""Experiments as a user asks for them, on the command line and in Python: training runs, sweeps, fits."""
