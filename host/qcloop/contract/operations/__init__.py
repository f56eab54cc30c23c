"""The operations of an array engine as bytes: one definition for host, tests and gateware.

A request is an opcode, the number of operand bytes and the operands. The engine answers it once, with a
status, the number of result bytes and the results. All integers are little-endian. A request that is refused
changes nothing, and its answer has no results.

=================  ==============================================  ======================================
operation          operands                                        results
=================  ==============================================  ======================================
INFO               none                                            :class:`.Info`
CONFIGURE          settings, two generator seeds, table            none
PROGRAM            region, 2 bytes for each listed cell            none
PROGRAM_BLOCK      region, a level for each cell, row by row       none
LOAD               region, a cell word for each cell               none
READ               region                                          a cell word for each cell, row by row
COUNTERS           none                                            all counters, 6 bytes each
FORWARD1           region, count n, n packed 1-bit vectors         n * cols products
FORWARD8           region, count n, n * rows uint8                 n * cols products
BACKWARD           region, count n, n * cols int8                  n * rows products
PLAN               plan, 64 gaps, 256 exponentials                 none
LAYER              region, layer, 256 activation entries or none   none
TRAIN              count n, n labels, each followed by its image   none
CLASSIFY           count n, n images                               n classes, a byte each
RATES              rate and exponent of 8 layers                   none
LOAD_ACCUMULATORS  region, an accumulator for each cell            none
READ_ACCUMULATORS  region                                          an accumulator for each cell, row by row
AGE                region, 64 entries of a drift and a spread      none
LOAD_VARIATION     region, deviations of each cell                 none
READ_VARIATION     region                                          deviations of each cell, row by row
LOAD_ENDURANCE     region, writes left of each cell                none
READ_ENDURANCE     region                                          writes left of each cell, row by row
=================  ==============================================  ======================================

The layouts are :data:`.REGION`, :data:`qcloop.contract.formats.CELL` (a *cell word*), :data:`.LISTED_CELL`,
:data:`qcloop.contract.types.SETTINGS` and :data:`qcloop.contract.formats.TABLE_ENTRY`, one for each level. A
*listed cell* is given by its offset in cells from the region's first word, ``word * lanes + lane``; the lanes
behind the last column are counted as well. A *1-bit vector* has the first row in the least significant bit of
the first byte, and as many bytes as its rows take; the bits left over are ignored. A *product* is a signed
integer of 3 or 4 bytes (see :func:`.product_bytes`). A *generator seed* is what
:func:`qcloop.contract.seeding.seed_bytes` returns.

The operands of CONFIGURE, and those of PROGRAM and PROGRAM_BLOCK after the region, are checked as a whole
before any of them is executed, so they must fit into the engine's operand buffer. If a list or a block is
longer, the functions of :mod:`.cells` cut it into several requests, which together do exactly what one would
do.

Each module has the layouts of its operations, makes their requests and reads their results:

==================  ==============================================================
module              operations
==================  ==============================================================
:mod:`.opcodes`     all: opcodes, statuses, the header
:mod:`.info`        INFO
:mod:`.regions`     all that name a region; reading of a word of each of its cells
:mod:`.cells`       CONFIGURE, PROGRAM, PROGRAM_BLOCK, LOAD, READ
:mod:`.products`    FORWARD1, FORWARD8, BACKWARD
:mod:`.counters`    COUNTERS
:mod:`.learning`    PLAN, LAYER, TRAIN, CLASSIFY, RATES, the accumulators
:mod:`.devices`     AGE, the variation, the endurance
==================  ==============================================================

All other code imports their names from this package.
"""

from qcloop.contract.operations.cells import (
    LISTED_CELL,
    TABLE_START,
    block_requests,
    configure_request,
    decode_cells,
    load_requests,
    program_requests,
)
from qcloop.contract.operations.counters import (
    COUNTER_BYTES,
    COUNTERS,
    Counter,
    TrainingCounts,
    decode_counters,
    decode_training,
    positions_after,
    training_result,
)
from qcloop.contract.operations.devices import (
    AGE_ENTRY,
    AGE_SAMPLES,
    age_request,
    decode_endurance,
    decode_variation,
    load_endurance_requests,
    load_variation_requests,
)
from qcloop.contract.operations.info import INFO, MAGIC, MIN_BUFFER, VERSION, Info, configuration_digest
from qcloop.contract.operations.learning import (
    ACCUMULATOR_BYTES,
    ACTIVATION,
    GAPS,
    LABEL,
    LAYER,
    MAX_IMAGES,
    PLAN,
    PLAN_BYTES,
    PLAN_ENTRY,
    PLAN_FLAGS,
    RATE,
    RATES_BYTES,
    REACH,
    classify_requests,
    decode_accumulators,
    decode_classes,
    gap_entries,
    image_bytes,
    load_accumulator_requests,
    packed_inputs,
    plan_requests,
    rates_request,
    train_requests,
)
from qcloop.contract.operations.opcodes import (
    HEADER,
    MAX_LENGTH,
    NEEDED,
    Operation,
    Status,
    check_status,
    request,
)
from qcloop.contract.operations.products import (
    NARROW_BYTES,
    NARROW_COLS,
    NARROW_ROWS,
    PRODUCT_BYTES,
    backward_requests,
    decode_products,
    forward_operation,
    forward_requests,
    product_bytes,
)
from qcloop.contract.operations.regions import COUNT, REGION, encode_region, read_requests, split_region

__all__ = [
    "ACCUMULATOR_BYTES",
    "ACTIVATION",
    "AGE_ENTRY",
    "AGE_SAMPLES",
    "COUNT",
    "COUNTERS",
    "COUNTER_BYTES",
    "GAPS",
    "HEADER",
    "INFO",
    "LABEL",
    "LAYER",
    "LISTED_CELL",
    "MAGIC",
    "MAX_IMAGES",
    "MAX_LENGTH",
    "MIN_BUFFER",
    "NARROW_BYTES",
    "NARROW_COLS",
    "NARROW_ROWS",
    "NEEDED",
    "PLAN",
    "PLAN_BYTES",
    "PLAN_ENTRY",
    "PLAN_FLAGS",
    "PRODUCT_BYTES",
    "RATE",
    "RATES_BYTES",
    "REACH",
    "REGION",
    "TABLE_START",
    "VERSION",
    "Counter",
    "Info",
    "Operation",
    "Status",
    "TrainingCounts",
    "age_request",
    "backward_requests",
    "block_requests",
    "check_status",
    "classify_requests",
    "configuration_digest",
    "configure_request",
    "decode_accumulators",
    "decode_cells",
    "decode_classes",
    "decode_counters",
    "decode_endurance",
    "decode_products",
    "decode_training",
    "decode_variation",
    "encode_region",
    "forward_operation",
    "forward_requests",
    "gap_entries",
    "image_bytes",
    "load_accumulator_requests",
    "load_endurance_requests",
    "load_requests",
    "load_variation_requests",
    "packed_inputs",
    "plan_requests",
    "positions_after",
    "product_bytes",
    "program_requests",
    "rates_request",
    "read_requests",
    "request",
    "split_region",
    "train_requests",
    "training_result",
]
