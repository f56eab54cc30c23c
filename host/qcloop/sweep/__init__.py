"""Many training runs, called points: each is run once, on the cores of a machine, a cluster or boards."""
