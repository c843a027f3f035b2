"""``bench reference``: build, import and show reference statistics."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.reference.statistics import Reference

command = typer.Typer(rich_markup_mode=None)

ExtractorOption = Annotated[
    str,
    typer.Option(
        help="Such as inception[resize=legacy], dinov2 or, with --frames, i3d[conversion=tats].  "
        "[default: inception, or i3d]",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="Where to write the .npz file.", show_default=False)]


@command.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Reference statistics: mean and covariance of a data set's features, with all that must agree to compare.

    \b
    Examples:
      bench reference build photos/ --out photos.npz --resolution 256 --preprocessing center-lanczos
      bench reference show photos.npz
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def runner(name: str, device: str, clips: bool = False) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The id of a feature network, and what runs it on images (B, 3, H, W) or clips (B, F, 3, H, W), uint8.

    Raises:
        UsageError, AssetError: it is unknown, or its weights or its package are missing.
    """
    from bench.features.base import apply, network, use_device
    from bench.features.i3d import logits
    from bench.features.named import KNOWN, OF_CLIPS, create

    extractor = create(name, OF_CLIPS if clips else KNOWN)
    use_device(device)
    module = network(extractor)
    return extractor.id, (lambda found: logits(module, found) if clips else apply(module, found)["features"])


def _folder(out: Path) -> None:
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise UsageError(f"--out {out}: name a file that ends in .npz in a folder that exists")


def rows(reference: Reference) -> dict[str, Any]:
    """What there is to say of statistics, for people and as JSON."""
    return {
        "id": reference.id,
        "extractor": reference.extractor,
        "resolution": list(reference.resolution) if reference.resolution else None,
        "preprocessing": reference.preprocessing,
        "count": reference.count,
        "width": len(reference.mean),
        "features": 0 if reference.features is None else len(reference.features),
        **reference.provenance,
    }


@contextmanager
def counter() -> Iterator[Callable[[int], None]]:
    """A line on a terminal that counts images."""
    live = sys.stderr.isatty()

    def tell(count: int) -> None:
        if live:
            sys.stderr.write(f"\r\x1b[K{count:,} images")

    yield tell
    if live:
        sys.stderr.write("\r\x1b[K")


def _finish(reference: Reference, out: Path) -> None:
    reference.save(out)
    if reference.count <= len(reference.mean):
        sys.stderr.write(
            f"note: {reference.count} images for {len(reference.mean)} features; distances from so few say little\n"
        )
    skipped = reference.provenance.get("skipped", {}).get("count", 0)
    left_out = f", {skipped} left out" if skipped else ""
    typer.echo(f"{out}  reference {reference.id} of {reference.count} images{left_out}")


@command.command("build")
def build_(
    source: Annotated[str, typer.Argument(help="Folder, .tar, .npz, torchvision:NAME?... or hf:OWNER/NAME?...")],
    out: Out,
    extractor: ExtractorOption = "",
    frames: Annotated[
        int | None, typer.Option(min=9, help="Of videos: the length of a clip, for FVD.", show_default=False)
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Size of the square images.  [default: theirs]")] = None,
    preprocessing: Annotated[str, typer.Option(help="none, center-lanczos, center-bicubic or center-adm.")] = "none",
    features: Annotated[int, typer.Option(min=0, help="Features to keep, for KID, precision and recall.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the draw of these features.")] = 0,
    limit: Annotated[int | None, typer.Option(min=2, help="Take the first images only.  [default: all]")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out and count what cannot be decoded.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Compute the statistics of a data set.

    \b
    Examples:
      bench reference build photos/ --out photos.npz --resolution 256 --preprocessing center-lanczos
      bench reference build 'torchvision:CIFAR10?split=train&root=data' --out cifar10.npz
      bench reference build videos/ --frames 16 --resolution 224 --preprocessing center-bicubic --out videos.npz
    """
    _folder(out)
    from bench.reference.build import Order, build
    from bench.reference.clips import ClipPreparation, open_clips
    from bench.reference.images import Preparation
    from bench.reference.sources import open_source

    preparation = (ClipPreparation if frames else Preparation)(preprocessing, resolution)
    opened = open_clips(source, frames) if frames else open_source(source)
    name, run = runner(extractor or ("i3d" if frames else "inception"), device, clips=frames is not None)
    order = Order(name, run, preparation, features, seed, limit, skip_bad)
    with counter() as tell:
        reference = build(opened, order, tell)
    _finish(reference, out)


def size(text: str) -> tuple[int, int] | None:
    """``256``, ``720x1280`` or ``unknown`` as (height, width).

    Raises:
        UsageError: another form.
    """
    if text == "unknown":
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--resolution {text}: write 256, 720x1280 (height x width) or unknown")
    return int(parts[0]), int(parts[-1])


@command.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An .npz file of EDM, ADM, clean-fid or pytorch-fid.")],
    out: Out,
    extractor: Annotated[str, typer.Option(help="The network it was made with.", show_default=False)] = "",
    resolution: Annotated[str, typer.Option(help="256, 720x1280 or unknown.", show_default=False)] = "",
    count: Annotated[int, typer.Option(help="Of images.", show_default=False)] = 0,
    preprocessing: Annotated[str, typer.Option(help="What was done to the images.")] = "unstated",
    spatial: Annotated[bool, typer.Option("--spatial", help="ADM's second pair, mu_s and sigma_s.")] = False,
) -> None:
    """Take over another program's statistics; what their file does not say has to be said.

    \b
    Examples:
      bench reference import edm.npz --extractor 'inception[resize=legacy]' --resolution 32 --count 50000 --out c.npz
    """
    _folder(out)
    wanted = [
        name for name, value in (("extractor", extractor), ("resolution", resolution), ("count", count)) if not value
    ]
    if wanted:
        options = " and ".join(f"--{name}" for name in wanted)
        raise UsageError(f"{file} does not say its {', '.join(wanted)}; add {options}")
    from bench.features.named import create
    from bench.reference.foreign import Told, read_foreign

    network = create(extractor)
    which, name, width = ("spatial", f"{network.id}/spatial", None) if spatial else ("pool", network.id, network.width)
    told = Told(name, size(resolution), count, preprocessing, which, width)
    _finish(read_foreign(file, told), out)


@command.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A file of bench reference.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of lines.")] = False,
) -> None:
    """What a reference is of, and how it was made.

    \b
    Examples:
      bench reference show cifar10.npz
    """
    from bench.reference.statistics import load

    found = rows(load(file))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    width = max(len(key) for key in found)
    for key, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{key.replace('_', ' '):{width}}  {text}")
