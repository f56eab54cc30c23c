"""Boards: the gateware on real FPGAs, from a board's definition to its bitstream."""
