"""Help in sections: commands with many options list them by what they are about."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections; those that no section names come last.

    Parameters
    ----------
    sections : mapping of str to sequence of str
        Title of each section, and the parameters in it.
    """

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sections = sections

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        records = {
            parameter.name: record
            for parameter in self.get_params(context)
            if (record := parameter.get_help_record(context)) is not None
        }
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Other options" if self.sections else "Options"):
            formatter.write_dl(list(records.values()))
