"""The board's end of the serial link."""
