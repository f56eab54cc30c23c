"""From a file of measured cycles to an accuracy, in Python. `qcloop fit` and `qcloop train` do the same.

python fit_and_train.py [FILE]
"""

import sys
from pathlib import Path

import qcloop

MEASURED = Path(__file__).with_name("measured.csv")


def main(path: Path = MEASURED) -> None:
    """Fit the curves in two ways, write both devices, and train on both."""
    for model in ("equation", "table"):
        fitted = qcloop.fit(path, model=model, name=model)
        if model == "equation":
            for finding in fitted.measured.findings:
                print(f"{finding.kind}: {finding.text}")
        fitted.profile.save(f"{model}.toml")
        result = qcloop.train(
            device=fitted, network="784-16-16-10", images=6000, epochs=1, seed=1, quiet=True
        )
        accuracy = 100 * result.accuracy.mean
        print(f"{model}.toml: {fitted.profile.states} states, test accuracy {accuracy:.2f} %")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except qcloop.QcloopError as error:
        sys.exit(f"error: {error}")
