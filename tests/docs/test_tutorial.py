"""The tutorial: every command on it is run, in order, and prints what is shown."""

import shutil

import pytest
from tutorial_blocks import ROOT, blocks_of, difference, environment, run_block

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCKS = blocks_of(TUTORIAL.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with what the repository's root has for the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("bin"))


def test_the_tutorial_has_its_blocks():
    page = TUTORIAL.read_text()
    assert len(BLOCKS) == page.count("\n```bash\n") + page.count("\n```python\n") >= 9
    assert all(block.output for block in BLOCKS), "every block shows what it prints"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line-{block.line}")
def test_each_block_prints_what_is_shown(block, folder, env):
    if "--port sim" in block.code and shutil.which("g++") is None:
        pytest.skip("the virtual board needs g++")
    done = run_block(block, folder, env)
    assert done.returncode == 0, done.stdout
    assert not (wrong := difference(block.output, done.stdout)), (
        f"{wrong}\n\nall that was printed:\n{done.stdout}"
    )


@pytest.mark.parametrize(
    ("shown", "printed", "wrong"),
    [
        ("a 1.5 %\n", "a 1.5 %  \n", ""),
        ("a 1.5 %", "a 1.6 %", "shown: a 1.5 %\nprinted: a 1.6 %"),
        ("a ... s", "a 3 s", ""),
        ("a ... s", "b 3 s", "shown: a ... s\nprinted: b 3 s"),
        ("a.b", "axb", "shown: a.b\nprinted: axb"),
        ("a\n...\nd", "a\nb\nc\nd", ""),
        ("a\n...\nd", "a\nd", ""),
        ("a\n...\nd", "a\nb\nc", "shown: d\nprinted first: b"),
        ("a\n...", "a\nb", ""),
        ("a", "a\nb", "shown: nothing\nprinted: b"),
        ("a\nb", "a", "shown: b\nprinted: nothing"),
    ],
)
def test_a_difference_is_told(shown, printed, wrong):
    assert difference(shown, printed) == wrong


def test_which_blocks_are_run():
    page = "".join(
        f"```{language}\n{code}\n```\n{after}"
        for language, code, after in (
            ("bash", "a", ""),
            ("text", "b", "\n"),
            ("console", "$ c", ""),
            ("text", "d", "\n"),
            ("python", "e", "word\n"),
            ("text", "f", ""),
        )
    )
    assert [(block.code, block.output) for block in blocks_of(page)] == [("a\n", "b\n"), ("e\n", None)]
