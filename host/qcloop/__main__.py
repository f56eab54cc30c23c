"""``python -m qcloop``."""

from qcloop.cli import main

if __name__ == "__main__":
    main()
