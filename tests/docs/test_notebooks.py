"""The notebooks, run cell by cell without Jupyter, show what they hold, and pages show what notebooks do."""

import json
import shutil

import pytest
from tutorial_blocks import ROOT, blocks_of, difference

EXAMPLE = ROOT / "examples" / "notebook"
PAGES = (ROOT / "docs" / "python.md", EXAMPLE / "README.md")


@pytest.fixture
def notebook(monkeypatch):
    """Return the module that runs notebooks."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return pytest.importorskip("notebook")


def test_each_cell_of_a_notebook_shows_what_it_holds(notebook, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for path in notebook.NOTEBOOKS:
        shown = notebook.run_cells(tmp_path / path.relative_to(ROOT))
        assert len(shown) > 5
        for cell, outputs in shown:
            wrong = difference(notebook.texts(cell["outputs"]), notebook.texts(outputs))
            assert not wrong, (
                f"{wrong}\n\nin the cell\n{''.join(cell['source'])}\n\n`make pictures` renews it"
            )
            kinds = [sorted(output.get("data", ())) for output in outputs]
            assert kinds == [sorted(output.get("data", ())) for output in cell["outputs"]]
    assert (tmp_path / "examples" / "notebook" / "runs" / "first" / "summary.tex").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_of_a_page_is_a_cell_of_the_notebook(page, notebook):
    cells = json.loads((EXAMPLE / "first-steps.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = {
        "".join(cell["source"]): notebook.texts(cell["outputs"]) for cell in cells if "outputs" in cell
    }
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    assert blocks
    for block in blocks:
        code = block.code.strip().replace("print(result)", "result").replace("print(compared)", "compared")
        (source,) = (source for source in outputs if source.removesuffix("\nmine") == code)
        assert block.output is None or block.output.strip() == outputs[source]
