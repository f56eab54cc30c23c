"""Run the notebooks of the examples and keep what they show: ``python docs/notebook.py``.

A notebook is run as Jupyter would, cell by cell in its folder: what a cell prints is kept, and what its last
expression shows. No Jupyter is needed for it.
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = (ROOT / "examples" / "notebook" / "first-steps.ipynb",)

_PICTURE = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+")


def run_cells(path: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Run the code cells of a notebook in its folder; return each with its outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    with contextlib.chdir(path.parent):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                shown.append((cell, _run("".join(cell["source"]), names, len(shown) + 1)))
    return shown


def _run(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data: dict[str, Any] = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_png_"):
            data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
        outputs.append(result)
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def texts(outputs: list[dict[str, Any]]) -> str:
    """Return what outputs show as plain text."""
    parts = ["".join(o["text"] if "text" in o else o["data"]["text/plain"]) for o in outputs]
    return "\n".join(part.rstrip("\n") for part in parts)


def _small(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs whose pictures have few colours, since they are checked in."""
    for data in (output["data"] for output in outputs if "data" in output):
        if "image/png" in data:
            data["image/png"] = _few_colours(data["image/png"])
        page = "".join(data.get("text/html", ()))
        data |= {"text/html": _lines(_PICTURE.sub(lambda f: _few_colours(f[0]), page))} if page else {}
    return outputs


def _few_colours(picture: str) -> str:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
        image = opened.convert("RGB").quantize(24, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Run the notebooks in a copy of the examples, and write what they show into them."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ROOT / "examples", Path(folder) / "examples")
            shown = run_cells(Path(folder) / path.relative_to(ROOT))
        notebook = json.loads(path.read_text(encoding="utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, (cell, (_, outputs)) in enumerate(zip(code, shown, strict=True), 1):
            cell["outputs"], cell["execution_count"] = _small(outputs), number
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes, {len(code)} cells")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
