"""Values that the paper measured and reached, as its text states them: Micromachines 2020, 11, 427."""

#: Final test accuracy in per cent on sample A by number of states (Figure 5c). For 4 states the paper says
#: "about 10".
ACCURACY_OF_STATES = {4: 10.0, 16: 71.2, 32: 86.8, 64: 93.5}
#: Final test accuracy in per cent with 32 states by device (Figure 5d). B is "about 2" below the others.
ACCURACY_OF_DEVICE = {"ideal": 86.1, "A": 86.0, "B": 84.0}
#: Epoch after which 16 states drop to about 10 % (Figure 5c).
COLLAPSE_EPOCH = 6
EPOCHS = 10
#: Accepted difference between a median and the paper's accuracy, in points; and the most that 4 states may
#: reach, in per cent.
TOLERANCE, FOUR_STATES_MOST = 3.0, 15.0

#: Number of cycles in Figures 3 and 4.
CYCLES = 12
#: Largest less smallest conductance at 16 G0 over the cycles, in per cent of 16 G0.
SPREAD_AT_ON = {"A": 33.26, "B": 55.95}


def nominal(stage: int) -> float:
    """Return mu of Equation (1) at pulse stage 1..32, in G0."""
    return 16.5 - 0.5 * stage
