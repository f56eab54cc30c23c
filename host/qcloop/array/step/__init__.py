"""The training step on an array, as ``docs/array.md`` defines it: the inner loops of the golden model."""
