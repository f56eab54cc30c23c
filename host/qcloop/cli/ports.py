"""``qcloop ports``: the serial ports, and the boards on them."""

import click

from qcloop.cli import completion
from qcloop.contract.frames import Identity, describe_faults
from qcloop.errors import ArrayError, LinkError
from qcloop.link.ports import BAUD, describe_images, found_ports, probe, split_ports


@click.command()
@click.argument("urls", metavar="[PORT]...", nargs=-1, shell_complete=completion.PORT)
@click.option("--probe", "ask", is_flag=True, help="Ask each port whether a board is there. Changes nothing.")
@click.option("--baud", default=BAUD, show_default=True, help="Bits a second, with --probe")
def ports(urls: tuple[str, ...], ask: bool, baud: int) -> None:
    """List the serial ports, or say which board is on each PORT; `sim` is a virtual board.

    Exits with 3 if there is no board on any PORT.
    """
    urls = tuple(port for url in urls for port in split_ports(url))
    described = dict.fromkeys(urls, "") or {port.device: port.description for port in found_ports()}
    if not described:
        click.echo("no serial ports; `--port sim` is a virtual board, and is always there", err=True)
    width = max(map(len, described), default=0)
    found = False
    for url, description in described.items():
        board, answer = _ask(url, baud) if ask or urls else (True, description)
        found = found or board
        click.echo(f"{url:{width}s}  {answer}")
    if urls and not found:
        raise LinkError(f"no board on {', '.join(urls)}")


def _ask(url: str, baud: int) -> tuple[bool, str]:
    try:
        identity = probe(url, baud)
        return True, _describe(identity) + describe_images(url, baud, identity)
    except (LinkError, ArrayError) as error:
        return False, f"no: {error}"


def _describe(identity: Identity) -> str:
    array = identity.info.array
    return (
        f"qcloop: {array.lanes} lanes, {array.cells:,} cells, side {array.side}, "
        f"{array.describe_parts()}, configuration {identity.info.digest.hex()[:16]}, "
        f"boot {identity.boots}{', a host has opened a session' if identity.session else ''}; "
        f"faults: {describe_faults(identity.faults)}"
    )
