"""The arithmetic of the training step: blocks that a sequencer is to connect. No build has them yet."""
