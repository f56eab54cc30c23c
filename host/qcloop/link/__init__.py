"""The serial link to a board, and the array that the board holds."""
