"""The sides of tiles as a setting gives them: one number for all layers, or one for each layer."""

from operator import index

from qcloop.errors import ConfigError

#: Stands for the side of a layer that is not cut.
UNCUT = "none"


class PerLayer(tuple[int | None, ...]):
    """The sides of the tiles of each layer, None for one that is not cut; as text ``64,none,10``."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(UNCUT if side is None else str(side) for side in self)


def read_sides(name: str, value: object) -> PerLayer | int | None:
    """Return the sides that a setting gives. Whether they are in range is not checked here.

    Parameters
    ----------
    name : str
        Of the setting, for messages.
    value : int, str, list or tuple
        One number for all layers; or numbers, one for each layer, or their text. ``none`` or None stands for
        a layer that is not cut. What stands alone holds for all layers.

    Raises
    ------
    ConfigError
        If the value is anything else. The message shows it.
    """
    if isinstance(value, str):
        sides: list[object] = [*value.split(",")]
    else:
        sides = list(value) if isinstance(value, list | tuple) else [value]
    try:
        if not sides:
            raise ValueError
        read = PerLayer(map(_side, sides))
    except (TypeError, ValueError):
        raise ConfigError(
            f"{name} must be an integer, or an integer or {UNCUT} for each layer, such as 64,{UNCUT},10, "
            f"not {value!r}"
        ) from None
    return read[0] if len(read) == 1 else read


def _side(value: object) -> int | None:
    """Return one side; raises TypeError or ValueError if it is no integer and not ``none``."""
    if value is None or (isinstance(value, str) and value.strip() == UNCUT):
        return None
    if isinstance(value, str):
        return int(value)
    if isinstance(value, bool):
        raise TypeError
    return index(value)  # type: ignore[arg-type]


def side_of(name: str, sides: PerLayer | int | None, layer: int) -> int | None:
    """Return the side for the layer of this index; raises ConfigError if there are fewer."""
    if not isinstance(sides, PerLayer):
        return sides
    if layer >= len(sides):
        raise ConfigError(
            f"{name} {sides} is for {len(sides)} layers, and this is layer {layer + 1}: give one number for "
            f"all layers, or one or {UNCUT} for each"
        )
    return sides[layer]
