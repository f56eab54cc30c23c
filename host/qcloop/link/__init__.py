"""The serial link to a board, and the array behind it."""
