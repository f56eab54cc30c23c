"""Tools beside the gateware: Verilog, synthesis, resources, and their commands."""
