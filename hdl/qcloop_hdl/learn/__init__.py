"""The training step: the learner beside the array, and the blocks that it is made of."""
