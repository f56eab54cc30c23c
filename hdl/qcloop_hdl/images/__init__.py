"""Images that a board keeps in its flash memory, and the operations on them, in front of the engine.

``reader`` reads the memory over SPI, ``source`` finds the images of an order in it (``place``), and
``player`` turns an operation on images into requests of the engine. ``model`` is the memory, for simulation.
"""
