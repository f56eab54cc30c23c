"""What host and gateware share: number formats, the array's types, operations, frames, the generator."""
