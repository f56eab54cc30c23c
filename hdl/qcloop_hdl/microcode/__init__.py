"""A microprogrammed learner: one accumulator, and a program in block RAM that makes the training step."""
