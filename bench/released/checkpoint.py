"""What a released student's declaration says: which file of which repository, and how its authors run it.

A declaration is one file of ``methods/released/``: an ``INFO`` and a class whose ``checkpoint`` is a literal
``Checkpoint(...)``. It is read from the syntax tree, so ``bench show`` needs neither torch nor diffusers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["lora", "unet", "transformer", "motion", "delta"]
Sampler = Literal["consistency", "tcd", "euler", "ancestral", "dpm_solver_pp", "perflow"]
Unit = Literal["index", "flow", "sigma"]
Prediction = Literal["", "eps", "x0", "v", "velocity", "data_velocity"]

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_HASH = re.compile(r"[0-9a-f]{40}")


class Checkpoint(BaseModel):
    """One released checkpoint, as its model card and code describe it.

    Attributes:
        repository: on the Hugging Face hub, ``owner/name``.
        revision: full commit hash; empty where no public source that we could read gives one.
        kind: ``lora`` (an adapter of the base's denoiser), ``unet`` or ``transformer`` (all its weights: one file, or a
            folder with a ``config.json``), ``motion`` (the motion modules of an AnimateDiff UNet), ``delta`` (added to
            the base's weights).
        files: path inside the repository for each number of evaluations; 0 stands for all numbers without their own.
        lora: a LoRA that goes with weights of another kind, or empty.
        lora_scale: factor of the LoRA.
        base: repositories of the base model; the first is the one the authors use.
        pipelines: classes of diffusers whose denoiser fits; a suite with another class is another architecture.
        licence: as the model card names it.
        sampler: the prescribed sampler, see ``bench.released.prescribed``.
        timesteps: for each released number of evaluations, the times at which the network is called, in ``unit``.
        unit: of ``timesteps``: ``index`` of the betas (0..999), ``flow`` time times 1000, or ``sigma`` itself.
        guidance_scale: w of ``D_u + w (D_c - D_u)``, or of the guidance embedding; 1 where the authors use none.
        guidance_by_nfe: scales that differ from ``guidance_scale``, by number of evaluations.
        embedded: the network is told the scale, so that guidance is one evaluation.
        family: the pipeline class that says how the student's network is called, where that is not the suite's own.
        prediction: what the student's output means, where it is not what the base's means; ``data_velocity`` is
            ``x0 - eps``.
        schedule: what differs from the base's scheduler configuration, such as ``{"beta_schedule": "linear"}``.
        start: ``unit``: the first network input is standard normal noise; ``scaled``: it is ``sigma_t`` times that.
        end: ``clean``, or ``index0``: the last step ends at the noise of index 0 and is returned at its scale, as DDIM
            and TCD do with ``set_alpha_to_one=False``.
        eta: TCD's gamma; PeRFlow and the others have none.
        boundary: c_skip and c_out of latent consistency models, with this factor of the index; 0 is none.
        sigma_floor: the smallest noise level of consistency models in sigma; fresh noise has the variance above it.
        clip: x0 is clipped to [-1, 1].
        windows: PeRFlow's number of time windows.
        window_form: ``ddim_eps`` or ``diff_eps``, PeRFlow's two parametrisations.
        time_scale: factor on the time that the network is told.
        time_floor: that time is cut to a whole number.
        called_at: factor on the index, cut to a whole number, at which the network is called and its output understood,
            while the noise is that of the index itself (NitroFusion's time-step shift).
        source: where each setting was read; the key is a field or ``settings`` for all that are not named.
        unverified: what could not be read in a public source, one phrase each.
        note: one sentence on what a user should know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    repository: str = Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$")
    revision: str = ""
    kind: Kind
    files: dict[int, str] = Field(min_length=1)
    lora: str = ""
    lora_scale: float = 1.0
    base: tuple[str, ...] = Field(min_length=1)
    pipelines: tuple[str, ...] = Field(min_length=1)
    licence: str
    sampler: Sampler
    timesteps: dict[int, tuple[float, ...]] = Field(min_length=1)
    unit: Unit = "index"
    guidance_scale: float = 1.0
    guidance_by_nfe: dict[int, float] = Field(default_factory=dict)
    embedded: bool = False
    family: str = ""
    prediction: Prediction = ""
    schedule: dict[str, Any] = Field(default_factory=dict)
    start: Literal["unit", "scaled"] = "unit"
    end: Literal["clean", "index0"] = "clean"
    eta: float = Field(default=0.0, ge=0, le=1)
    boundary: float = Field(default=0.0, ge=0)
    sigma_floor: float = Field(default=0.0, ge=0)
    clip: bool = False
    windows: int = Field(default=0, ge=0)
    window_form: Literal["", "ddim_eps", "diff_eps"] = ""
    time_scale: float = Field(default=1.0, gt=0)
    time_floor: bool = False
    called_at: float = Field(default=1.0, gt=0, le=1)
    source: dict[str, str] = Field(min_length=1)
    unverified: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Checkpoint:
        if self.revision and not _HASH.fullmatch(self.revision):
            raise ValueError(f"revision {self.revision!r} is not a full commit hash")
        if not self.revision and not any("revision" in each for each in self.unverified):
            raise ValueError("there is no revision, and unverified does not say so")
        for path in (*self.files.values(), self.lora):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path!r} is not inside the repository")
        for nfe, times in self.timesteps.items():
            if len(times) != nfe or list(times) != sorted(times, reverse=True):
                raise ValueError(f"{nfe} evaluations need {nfe} decreasing time steps, not {times}")
            if nfe not in self.files and 0 not in self.files:
                raise ValueError(f"no file for {nfe} evaluations")
        return self

    def file(self, nfe: int) -> str:
        """The path inside the repository for a number of evaluations."""
        return self.files.get(nfe) or self.files[0]

    def pickled(self, nfe: int) -> bool:
        """Whether that file is a pickle, which is never loaded."""
        return self.file(nfe).endswith(PICKLES)

    def guidance(self, nfe: int) -> float:
        """The prescribed scale for a number of evaluations."""
        return self.guidance_by_nfe.get(nfe, self.guidance_scale)

    @property
    def budgets(self) -> str:
        """The released numbers of evaluations, such as ``"1, 2, 4 or 8"``."""
        names = [str(nfe) for nfe in sorted(self.timesteps)]
        return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

    @property
    def command(self) -> str:
        """The command that brings what the student is made of onto this machine, and nothing else of the repository."""
        pinned = f" --revision {self.revision}" if self.revision else ""
        names = list(dict.fromkeys(filter(None, (*self.files.values(), self.lora))))
        names += ["adapter_config.json"] if any(name.startswith("adapter_model") for name in names) else []
        if "." in names:
            wanted = ""
        elif all(PurePosixPath(name).suffix for name in names):
            wanted = "".join(f" {name}" for name in names)
        else:
            wanted = "".join(f" --include '{name}/*'" for name in names)
        return f"hf download {self.repository}{pinned}{wanted}"


def _literals(tree: ast.Module) -> Iterator[dict[str, Any]]:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for item in node.body:
            if not isinstance(item, ast.Assign | ast.AnnAssign) or not isinstance(item.value, ast.Call):
                continue
            if isinstance(item.value.func, ast.Name) and item.value.func.id == "Checkpoint":
                yield {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in item.value.keywords}


def read(path: Path) -> Checkpoint | None:
    """The checkpoint that a declaration names, from its syntax tree; None if there is none.

    Raises:
        ValueError: it is not made of literals, or not a valid checkpoint.
    """
    found = list(_literals(ast.parse(path.read_text(encoding="utf-8"))))
    return Checkpoint(**found[0]) if found else None
