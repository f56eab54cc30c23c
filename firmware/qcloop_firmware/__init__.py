"""Boards: the gateware on FPGAs, from the description of a board to its bitstream."""
