"""The board's end of the serial link: frames, buffers, and the line."""
