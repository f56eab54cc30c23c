"""Images that a board keeps in its flash memory, and the operations on them, in front of the engine.

``reader`` reads the memory over SPI, ``source`` finds the images of an order in it (``place``), and
``player`` does an operation on images: its requests come through ``program``, ``operands`` keeps what they
say, and ``asker`` asks the engine. ``model`` is the memory, for simulation.
"""
