#!/bin/sh
# Exports the engine, simulates it and compares its answers. All files go into the current folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
qcloop hdl verilog --size small -o engine.v
python "$here/exchange.py" write
iverilog -o bench "$here/bench.v" engine.v
vvp bench
python "$here/exchange.py" check
