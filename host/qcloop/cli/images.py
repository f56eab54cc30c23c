"""``qcloop images``: a data set as a board keeps it."""

from pathlib import Path

import click

from qcloop.contract.images import ImageSet
from qcloop.data import load_dataset
from qcloop.files import write_atomic
from qcloop.run.alone import run_alone
from qcloop.text import printable
from qcloop.training.image_set import image_set


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with IDX files, raw or gz [default: the built-in MNIST]",
)
@click.option("--transpose", is_flag=True, help="Swap rows and columns of each image (automatic for EMNIST)")
@click.option("--input-bits", default=1, show_default=True, help="Bits of an input pixel, 1 or 8")
@click.option(
    "--alone",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN",
    help="The images of the run in this folder, and the run itself: a board makes it when it is switched on",
)
@click.option("--images", default=0, help="Training images, from the first; 0 is all [default: 0]")
def images(
    file: Path, data: Path | None, transpose: bool, input_bits: int, alone: Path | None, images: int
) -> None:
    """Write a data set into FILE, as a board keeps it in its flash memory.

    `qcloop sim --with learning,images --flash FILE` is a virtual board with it; `qcloop flash BOARD --data`
    writes it to a real one.
    """
    if alone is not None:
        settings, content, program = run_alone(alone)
        write_atomic(file, content.encode() + program)
        click.echo(
            f"{printable(file)}: {_describe(content)}; the run of {printable(alone)}, {len(program):,} "
            f"bytes, for boards of {settings.lanes} lanes and {settings.cells:,} cells"
        )
        return
    content = image_set(load_dataset(data, transpose=transpose), input_bits, images)
    write_atomic(file, content.encode())
    click.echo(f"{printable(file)}: {_describe(content)}")


def _describe(content: ImageSet) -> str:
    info = content.info
    return (
        f"{info.train:,} training and {info.test:,} test images of {info.pixels} pixels of {info.bits} bits, "
        f"{info.total_bytes:,} bytes, data set {info.identity.hex()[:16]}"
    )
