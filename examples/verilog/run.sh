#!/bin/sh
# From the package to the comparison, in the current folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
qcloop hdl verilog --size small -o engine.v
python "$here/exchange.py" write
iverilog -g2005 -o bench "$here/bench.v" engine.v
vvp bench
python "$here/exchange.py" check
