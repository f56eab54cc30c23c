"""Shell completion, and the help of all commands."""

import os
import re
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete
from test_cli import CALL, HEAVY

from qcloop.cli import completion, completions
from qcloop.cli.main import cli
from qcloop.cli.sections import SectionedCommand

NAMES = {
    "device": "ideal A B",
    "recipe": "paper best gentle",
    "update": "nearest stochastic mixed carry",
}


def commands(group=cli, path=()):
    """Yield each command with its path, those in groups as well."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture(scope="module")
def mirror():
    """Return the commands that completion has instead of the real ones."""
    return completion.command_of("qcloop", completions.table_of(cli))


def answers(command, line):
    """Return what completes the last word of a line."""
    *words, incomplete = line.split(" ")
    found = ShellComplete(command, {}, "qcloop", completion.VARIABLE).get_completions(words, incomplete)
    return [(item.type, item.value) for item in found]


def test_the_table_is_that_of_the_commands():
    assert completion.TABLE.read_text() == completions.table_text(), "run python -m qcloop.cli.completions"


@pytest.mark.parametrize(
    "line",
    [
        *("", "t", "device ", "hdl v", "nonsense ", "--v"),
        *("train --", "train --device ", "train --step a", "train --port ", "train --out ", "train x"),
        *("device show ", "reproduce f", "reproduce fig3 fig4 b", "build ice", "flash ", "fit ", "fit x --r"),
        *("sim --with ", "sim --size ", "sim --while", "flash ulx3s-85f --data ", "sweep x --o"),
    ],
)
def test_what_completes_a_line_is_what_the_commands_themselves_would_say(mirror, line):
    assert sorted(answers(mirror, line)) == sorted(answers(cli, line))


def test_values_are_completed_where_they_are_fixed(mirror):
    for name, values in NAMES.items():
        found = answers(mirror, f"train --{name} ")
        assert [value for kind, value in found if kind == "plain"] == values.split()
    assert ("file", "") in answers(mirror, "train --device ")
    assert answers(mirror, "reproduce fig5") == [("plain", "fig5c"), ("plain", "fig5d")]
    assert answers(mirror, "reproduce al") == [("plain", "all")]
    assert ("plain", "icebreaker") in answers(mirror, "build ice")
    assert answers(mirror, "build ice") == answers(mirror, "flash ice")
    assert answers(mirror, "train --port s") == [("file", ""), ("plain", "sim")]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_is_answered_without_loading_a_command(shell):
    code = "import atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    words = {"COMP_WORDS": "qcloop train --device i", "COMP_CWORD": "i" if shell == "fish" else "3"}
    done = subprocess.run(
        [sys.executable, "-c", CALL.replace("import sys; ", f"import sys; {code}")],
        env=os.environ | words | {completion.VARIABLE: f"{shell}_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ideal" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_shell_gets_its_script():
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        env=os.environ | {completion.VARIABLE: "zsh_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_qcloop_completion" in done.stdout and "zsh_complete" in done.stdout


# -- the help -----------------------------------------------------------------------------------------


def test_no_help_has_a_character_of_control():
    for path, command in commands():
        text = command.get_help(click.Context(command, info_name=" ".join(path)))
        wrong = re.search(r"[\x00-\x09\x0b-\x1f\x7f]|\\b|``", text)
        assert not wrong, (path, wrong)


def test_every_option_of_a_long_command_is_in_a_section():
    long = [command for _, command in commands() if isinstance(command, SectionedCommand)]
    assert {"train", "sim"} <= {command.name for command in long}
    for command in long:
        named = [name for names in command.sections.values() for name in names]
        shown = {parameter.name for parameter in command.params if not getattr(parameter, "hidden", False)}
        arguments = {parameter.name for parameter in command.params if isinstance(parameter, click.Argument)}
        assert len(named) == len(set(named)) and set(named) == shown - arguments, command.name


def test_the_sections_of_help_come_in_their_order():
    @click.command(cls=SectionedCommand, sections={"Second": ("b",), "First": ("a",)})
    @click.option("--a", help="One.")
    @click.option("--b", help="Two.")
    @click.option("--c", help="Three.")
    def command(**_):
        pass

    text = command.get_help(click.Context(command, info_name="command"))
    parts = re.findall(r"^(\w.*):$|^  (--\w+)", text, re.M)
    heads = ["Second", "--b", "First", "--a", "Other options", "--c", "--help"]
    assert [head or option for head, option in parts] == heads
