"""What host and gateware both read: number formats, the array's types, operations, frames, the generator."""
