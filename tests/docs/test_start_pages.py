"""The first page for each kind of user: what it shows is run as part of a longer page or an example."""

import re

import pytest
from tutorial_blocks import ROOT, blocks_of, difference

DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
#: Blocks of the tutorial, whose commands are all run by its test.
TUTORIAL = {block.code: block.output for block in blocks_of((DOCS / "tutorial.md").read_text())}
PAGES = sorted(DOCS.glob("start-*.md"))


def example_of(code):
    """Return what the page of an example shows that it prints, which the test of the examples compares."""
    (script,) = re.findall(r"^(?:python|sh) (examples/\S+)$", code.strip())
    assert (ROOT / script).exists()
    (output,) = re.findall(
        r"^```text\n(.*?)^```$", (ROOT / script).with_name("README.md").read_text(), re.M | re.S
    )
    return output


def test_there_is_a_page_for_each_user():
    index = (DOCS / "index.md").read_text()
    assert [page.name for page in PAGES] == ["start-devices.md", "start-fpga.md", "start-pytorch.md"]
    for page in PAGES:
        assert f"({page.name})" in index
        assert len(page.read_text().splitlines()) < 90


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_what_they_print_where_they_are_run(page):
    blocks = [block for block in blocks_of(page.read_text()) if block.language == "bash"]
    assert page.stem == "start-pytorch" or len(blocks) == 3
    for block in blocks:
        assert block.output
        printed = TUTORIAL[block.code] if block.code in TUTORIAL else example_of(block.code)
        assert not (wrong := difference(block.output, printed)), wrong


def test_the_lines_for_pytorch_are_those_of_the_script_and_so_is_what_it_prints():
    page = (DOCS / "start-pytorch.md").read_text()
    (block,) = blocks_of(page)
    script = (EXAMPLES / "pytorch" / "train.py").read_text()
    assert without_blanks(block.code) in without_blanks(script)
    assert f"{len(script.splitlines())} lines" in page
    assert f"```text\n{example_of('python examples/pytorch/train.py')}```" in page


def without_blanks(code):
    return re.sub(r"\s+|# .*", "", code)


def test_the_numbers_above_the_commands_are_those_of_the_commands():
    page = (DOCS / "start-devices.md").read_text()
    (accuracy,) = re.findall(r"^test accuracy ([\d.]+) %", page, re.M)
    (writes,) = re.findall(r"most-written cell ([\d,]+) times", page)
    said = re.sub(r"\s+", " ", page)
    assert f"{float(accuracy):.1f} % of the test images" in said
    assert f"most-written cell is written {writes} times" in said


def test_the_shares_of_a_chip_are_those_of_the_table():
    rows = (DOCS / "resources.md").read_text()
    (small,) = re.findall(r"^\| small \| iCE40 UP5K \|.*?\| [\d,]+ / 5,280 \((\d+)%\)", rows, re.M)
    (large,) = re.findall(r"^\| large \| ECP5 85F \|.*?\| [\d,]+ / 83,640 \((\d+)%\)", rows, re.M)
    said = re.sub(r"\s+", " ", (DOCS / "start-fpga.md").read_text())
    assert f"The smallest engine takes {small} % of the logic cells of an iCE40 UP5K" in said
    assert f"the largest one {large} % of those of an ECP5 85F" in said
