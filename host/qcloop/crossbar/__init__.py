"""Weights on the devices of an array: layers, update rules, the account of writes, physical units."""
