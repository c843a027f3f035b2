"""What a user asks for, as text on the command line, and as checked values."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DeviceError, UsageError, unknown
from bench.quoting import quote
from bench.registry import Kind, add_path
from bench.spec import parse

NFE_LIMIT = 1000
SEED_LIMIT = 2**31 - 1
SAMPLES_LIMIT = 10**7
DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "float64", "bfloat16", "float16")
KINDS: tuple[Kind, ...] = ("method", "suite", "metric")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


@dataclass(frozen=True)
class Request:
    """What determines the cells of a run; how they are run is not part of it.

    Attributes:
        suite: spec of the suite.
        methods: comma-separated specs, families (``bench.registry.GROUPS``) or ``all``.
        nfe, seeds: checked integers, without repetition.
        samples, metrics: the suite's own if None; metrics are specs, the first one ranks.
        dtype, device: of the network.
        artifacts: a folder with fitted artifacts that is searched before those shipped.
        latency: whether latency is measured too.
        latency_threads: threads of the process that measures latency.
    """

    suite: str = "digits"
    methods: str = "all"
    nfe: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (0,)
    samples: int | None = None
    metrics: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    artifacts: Path | None = None
    latency: bool = False
    latency_threads: int = 1

    def __post_init__(self) -> None:
        """Bring the suite to its spec, see ``suite_spec``."""
        object.__setattr__(self, "suite", suite_spec(self.suite))


def integer(text: str, what: str, low: int, high: int) -> int:
    """An integer within limits.

    Raises:
        UsageError: it is none, or is outside.
    """
    try:
        value = int(text)
    except ValueError as error:
        raise UsageError(f"{what} must be an integer from {low} to {high}, not {text!r}") from error
    if not low <= value <= high:
        raise UsageError(f"{what} must be from {low} to {high}, not {value}")
    return value


def integers(text: str, what: str, low: int, high: int) -> tuple[int, ...]:
    """Integers written ``1,2,4`` or ``1-8`` or both, in the order given, each once.

    Raises:
        UsageError: a part is not an integer or a range, or is outside the limits; or there is none.
    """
    values: dict[int, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = _RANGE.fullmatch(part)
        start, stop = (integer(text, what, low, high) for text in (ends.groups() if ends else (part, part)))
        if stop < start:
            raise UsageError(f"the range {part!r} of {what} runs backwards; write {stop}-{start}")
        values.update(dict.fromkeys(range(start, stop + 1)))
    if not values:
        raise UsageError(f"{what} needs at least one integer from {low} to {high}, such as 1,2,4 or 1-8")
    return tuple(values)


def check_device(device: str) -> str:
    """A device that is there.

    Raises:
        UsageError: no such kind of device.
        DeviceError: this machine has none.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DeviceError("there is no CUDA device here (torch.cuda.is_available() is false); use --device cpu")
    return device


def check_dtype(dtype: str) -> str:
    """The name of a dtype that networks may run in.

    Raises:
        UsageError: another name.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    return dtype


PATHS = ("model", "prompts", "lora", "reference_files", "module", "weights")
"""Parameters of suites that may name files; in a TOML file they are found beside it."""
LISTS = ("metrics", "prompts", "reference_files")
"""Parameters of suites that may be lists in a TOML file; in a spec their values are separated by ``;``."""


def suite_spec(text: str) -> str:
    """The spec of a suite as users may write it.

    ``my-suite.toml``, a file of parameters with the name under the key ``suite``, which may be left out (``diffusers``)
    where there is a ``model``; ``diffusers:PATH`` or ``diffusers:owner/name``, the quick case; hyphens for underscores
    in the name; or a spec, which stays as it is.

    Raises:
        UsageError: the file is missing or not understood.
    """
    text = text.strip()
    if text.endswith(".toml"):
        return _from_toml(Path(text))
    if text.startswith("diffusers:"):
        return f"diffusers[model={quote(text.removeprefix('diffusers:'))}]"
    name, bracket, rest = text.partition("[")
    return name.replace("-", "_") + bracket + rest


def folder_name(text: str) -> str:
    """What the folder of a suite's runs is called by default: the stem of its TOML file, or the name of its model.

    Args:
        text: the suite as ``suite_spec`` takes it.
    """
    text = text.strip()
    if text.endswith(".toml"):
        return Path(text).stem
    if text.startswith("diffusers:"):
        model = text.removeprefix("diffusers:").partition("@")[0].rstrip("/").rpartition("/")[2]
        return re.sub(r"[^\w.-]+", "-", model).strip(".-") or "diffusers"
    return parse(suite_spec(text)).name


def _from_toml(path: Path) -> str:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the suite's file {path} cannot be read: {error}") from error
    if "suite" not in values and "model" not in values:
        raise UsageError(f'{path} has neither suite nor model; write which suite it is for, as in suite = "network"')
    suite = values.pop("suite", "diffusers")
    if not isinstance(suite, str):
        raise UsageError(f'suite in {path} must be a name, as in suite = "diffusers", with the parameters beside it')
    name = suite.replace("-", "_")
    pairs = [f"{key}={_value(path, key, value)}" for key, value in values.items()]
    return f"{name}[{','.join(pairs)}]" if pairs else name


def _value(path: Path, key: str, value: object) -> str:
    """A value of the file as it stands in a spec."""
    if isinstance(value, bool):
        return str(value).lower()
    items = value if isinstance(value, list) else [value]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or not all(isinstance(item, str | int | float) for item in items):
        raise UsageError(f"{key} in {path} must be a text, a number, true or false, or a list of these")
    if isinstance(value, list) and key not in LISTS:
        raise UsageError(f"{key} in {path} must be one value, not a list; lists are for {', '.join(LISTS)}")
    texts = [str(item) for item in items]
    if key in PATHS:
        texts = [_beside(path.parent, text) for text in texts]
    return quote(";".join(texts))


def _beside(folder: Path, text: str) -> str:
    """A value with the files and folders in it that lie beside the TOML file named by their path.

    A file may stand between a colon and a question mark, as in ``coco2014:captions.json?captions=all``.
    """
    if (folder / text).exists():
        return str(folder / text)
    parts = re.split("([:?])", text)
    return "".join(str(folder / part) if part and (folder / part).is_file() else part for part in parts)


def add_plugins(plugins: list[str]) -> tuple[tuple[Kind, str], ...]:
    """Register files given by path, ``my_solver.py`` or ``suite:my_suite.py``; what workers have to register as well.

    Raises:
        UsageError: no such file, a name that is taken, or an unknown kind.
    """
    added: list[tuple[Kind, str]] = []
    for text in plugins:
        prefix, colon, rest = text.partition(":")
        named = {str(kind): kind for kind in KINDS}.get(prefix) if colon else None
        kind, path = named or "method", Path(rest if named else text).resolve()
        add_path(kind, path)
        added.append((kind, str(path)))
    return tuple(added)
