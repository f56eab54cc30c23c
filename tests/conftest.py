"""The order in which files are run by several processes."""

#: Files of minutes, the longest first: where they begin last, one process works on alone at the end.
_LONGEST = (
    "test_compiled_engine.py",
    "test_verilog_cosimulation.py",
    "test_netlists.py",
    "test_virtual_board.py",
    "test_formal_engine.py",
    "test_resources.py",
    "test_tutorial.py",
    "test_programmer.py",
    "test_examples.py",
    "test_sweep_on_boards.py",
    "test_engine.py",
    "test_remote_array.py",
)


def pytest_collection_modifyitems(config, items):
    """Put the longest files first, in a process of pytest-xdist."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(_LONGEST)}
        items.sort(key=lambda item: order.get(item.path.name, len(order)))
