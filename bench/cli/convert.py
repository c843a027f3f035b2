"""``bench convert``: make safetensors of a checkpoint that is a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UsageError, unknown

FORMATS = ("edm",)


def command(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="What the file is: edm (NVlabs/edm).")],
    file: Annotated[Path, typer.Argument(help="The checkpoint, a .pkl file.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights, their record and the source as text.")],
    network: Annotated[str, typer.Option(help="Which object of the file.")] = "ema",
    trusted: Annotated[
        bool, typer.Option("--i-trust-this-file", help="You know where the file is from; it is a pickle.")
    ] = False,
) -> None:
    """Make safetensors of a checkpoint that is a pickle.

    The file is read in a process of its own that rebuilds tensors and nothing else: no class or function that the file
    names is called, and the source code that it holds is written as text. A file that asks for more is refused.

    \b
    Examples:
      bench convert edm edm-cifar10-32x32-cond-vp.pkl --out weights --i-trust-this-file
    """
    if format_ not in FORMATS:
        raise unknown("format", format_, FORMATS)
    if not network.isidentifier():
        raise UsageError(f"--network is a name such as ema, not {network!r}")
    from bench.pipelines.convert import convert_edm

    found = convert_edm(file, out, trusted, network)
    typer.echo(f"{found.weights}: {found.tensors} tensors")
    typer.echo(f"{found.record}: the network's class and arguments")
    typer.echo(f"{found.source}: its source code, not run; the function of your module has to build the same network")
