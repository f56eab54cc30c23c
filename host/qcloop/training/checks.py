"""Whether settings, device and data fit one another, before a run begins."""

from qcloop.contract.formats import MAX_SIDE, STUCK_LEVEL
from qcloop.crossbar.ageing import AgeingSteps
from qcloop.data import Dataset
from qcloop.device import RELAXATIONS, DeviceProfile
from qcloop.errors import ConfigError
from qcloop.training.geometry import spell_out
from qcloop.training.settings import RunSettings


def check_run(settings: RunSettings, profile: DeviceProfile, data: Dataset) -> None:
    """Raise ConfigError unless settings, device and data fit one another."""
    if settings.images > len(data.train_labels):
        raise ConfigError(
            f"images must be at most {len(data.train_labels)}, the training set, not {settings.images}"
        )
    sticks = settings.stuck_off + settings.stuck_on > 0 or settings.endurance is not None
    if profile.states > STUCK_LEVEL and sticks:
        raise ConfigError(
            f"{profile.states} states leave no room for stuck cells: use at most {STUCK_LEVEL} states"
        )
    if settings.age_seconds is not None:
        if profile.relaxation is None:
            raise ConfigError(
                f"age-per-epoch needs to know what time does to device {profile.name}: give --relaxation "
                f"{', '.join(RELAXATIONS)} or a TOML file, or a table [relaxation] in the device file"
            )
        AgeingSteps(profile, profile.relaxation).step(settings.age_seconds)
    check_network(settings, data)


def check_network(settings: RunSettings, data: Dataset) -> None:
    """Raise ConfigError unless the network begins and ends as the data does."""
    sizes = settings.layer_sizes()
    if data.pixels > MAX_SIDE:
        raise ConfigError(
            f"the images of {data.name} have {data.pixels} pixels, but a network has at most {MAX_SIDE} "
            "inputs: make the images smaller"
        )
    first = settings.layers()[0].convolution
    if first is not None and (first.height, first.width) != data.image_shape:
        fitting = "{}x{}-".format(*data.image_shape)
        rest = spell_out(settings.network).partition("-")[2]
        raise ConfigError(
            f"network {settings.network} takes images of {first.height}x{first.width} pixels, but those of "
            f"{data.name} have {fitting[:-1]}: use {fitting}... (as it is, it would be {fitting}{rest})"
        )
    if sizes[0] != data.pixels:
        raise ConfigError(
            f"network {settings.network} starts at {sizes[0]}, but the images of {data.name} have "
            f"{data.pixels} pixels: use {data.pixels}-..."
        )
    if sizes[-1] < data.classes:
        raise ConfigError(
            f"network {settings.network} ends at {sizes[-1]}, but {data.name} has {data.classes} classes: "
            f"use ...-{data.classes}"
        )
