"""How the layers of a network are cut into tiles, and how many conversions an image takes then."""

from dataclasses import dataclass

from qcloop.array.tiling import Cut
from qcloop.crossbar.settings import InputEncoding
from qcloop.training.settings import RunSettings


@dataclass(frozen=True)
class LayerConversions:
    """The tiles of a layer. Each has one converter, which takes its columns one after another."""

    cut: Cut
    #: Products of a tile when an image is classified: one for each vector, and for each bit of inputs that
    #: come bit by bit.
    products: int

    @property
    def tiles(self) -> int:
        """Number of tiles, and so of converters."""
        return len(self.cut.shapes())

    @property
    def conversions(self) -> int:
        """Sums of columns that are converted when an image is classified, over all tiles."""
        return self.products * sum(cols for _, cols in self.cut.shapes())


def conversions_of(settings: RunSettings) -> list[LayerConversions]:
    """Return the tiles and conversions of each layer; an empty list where no layer is cut."""
    serial = settings.input_encoding is InputEncoding.BIT_SERIAL
    layers = []
    for index, shape in enumerate(settings.layers()):
        bits = settings.input_bits if index == 0 else 8
        cut = settings.cut(index, shape.rows, shape.cols)
        layers.append(LayerConversions(cut, shape.vectors * (bits if serial else 1)))
    return layers if any(layer.tiles > 1 for layer in layers) else []


def describe_tiles(settings: RunSettings) -> str:
    """Return tiles, converters and conversions of an image in words; empty where no layer is cut."""
    layers = conversions_of(settings)
    if not layers:
        return ""
    rows, cols = (max(getattr(layer.cut, name) for layer in layers) for name in ("tile_rows", "tile_cols"))
    tiles = sum(layer.tiles for layer in layers)
    conversions = sum(layer.conversions for layer in layers)
    size = f"{tiles:,} tiles of at most {rows} x {cols} cells"
    return f"{size}, a converter each, {conversions:,} conversions an image"
