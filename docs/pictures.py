"""Make the pictures of README and docs again, by the commands that the pages show: ``make pictures``.

The commands run in a temporary folder with the examples. The pictures are then made smaller.
"""

import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
#: Largest width of a picture in pixels, most colours, and most bytes.
WIDTH, COLOURS, MOST = 1000, 48, 60_000

#: Commands in their order; the file of each that becomes a picture; and the name of the picture.
COMMANDS = (
    ("qcloop device show A --plot device.png", "device.png", "device.png"),
    ("qcloop fit examples/measured-device/measured.csv -o runs/mine.toml", "runs/mine.png", "fit.png"),
    ("qcloop train --recipe best --out runs/best", "runs/best/conductance.png", "conductance.png"),
    ("qcloop report runs/best", "runs/best/report.html", "report.png"),
)


def main() -> None:
    """Run the commands, and keep their pictures in :data:`FOLDER`."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        shutil.copytree(ROOT / "examples", work / "examples")
        (work / "runs").mkdir()
        for command, made, picture in COMMANDS:
            subprocess.run(command, shell=True, check=True, cwd=work, stdout=subprocess.DEVNULL)
            source = work / made
            if source.suffix == ".html":
                source = screenshot(source)
            content = smaller(source)
            if len(content) > MOST:
                raise SystemExit(f"{picture} must have at most {MOST:,} bytes, not {len(content):,}")
            (FOLDER / picture).write_bytes(content)
            print(f"{picture}: {len(content):,} bytes, by {command}")


def screenshot(page: Path) -> Path:
    """Return the file of a picture that shows the top of a page, as Chromium draws it."""
    picture = page.with_suffix(".png")
    subprocess.run(
        [
            os.environ.get("CHROMIUM", "chromium"),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--window-size=1100,900", f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return picture


def smaller(path: Path) -> bytes:
    """Return a picture as PNG, with few colours and no more than :data:`WIDTH` pixels across."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


if __name__ == "__main__":
    main()
