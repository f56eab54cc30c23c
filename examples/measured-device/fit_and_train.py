"""From a file of measured cycles to an accuracy, in Python. `qcloop fit` and `qcloop train` do the same.

python fit_and_train.py [FILE]
"""

import sys
from pathlib import Path

from qcloop.array import GoldenArray
from qcloop.data import load_dataset
from qcloop.device import DeviceProfile, save_profile
from qcloop.errors import QcloopError
from qcloop.fit import fit_equation, fit_table, read_measurements, to_profile
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

MEASURED = Path(__file__).with_name("measured.csv")


def accuracy(profile: DeviceProfile) -> float:
    """Return the test accuracy after one epoch of 6,000 images."""
    settings = resolve(None, {"network": "784-16-16-10", "images": 6000, "epochs": 1, "seed": 1})
    trainer = Trainer(settings, profile, load_dataset(), GoldenArray(settings.array_config))
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    return trainer.progress.history[-1].test_accuracy


def main(path: Path = MEASURED) -> None:
    """Fit the falling curves in two ways, write both devices, and train on both."""
    measured = read_measurements(path)
    branch = measured.branches()["down"]
    for finding in measured.findings:
        print(f"{finding.kind}: {finding.text}")
    for model, fitted in (("equation", fit_equation(branch)), ("table", fit_table(branch))):
        profile = to_profile(fitted, model, f"{path.name}, fitted as {model}")
        save_profile(profile, f"{model}.toml")
        print(f"{model}.toml: {profile.states} states, test accuracy {100 * accuracy(profile):.2f} %")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except QcloopError as error:
        sys.exit(f"error: {error}")
