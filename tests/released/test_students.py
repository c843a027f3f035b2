"""Every declaration on a tiny repository of its layout: it loads, is called at the prescribed times, and is counted."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api import Unsupported
from bench.nfe import Ledger
from bench.registry import load
from bench.released.checkpoint import Checkpoint, read
from bench.released.files import identity, locate

pytest.importorskip("diffusers")
pytest.importorskip("peft")
sys.path.insert(0, str(Path(__file__).parent))
import repositories as made

DECLARATIONS = sorted((Path(__file__).parents[2] / "methods" / "released").glob("[a-z]*.py"))
CARDS: dict[str, Checkpoint] = {path.stem: card for path in DECLARATIONS if (card := read(path)) is not None}
RUN = {name: card for name, card in CARDS.items() if card.pipelines[0] in made.BUILD}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny repositories are."""
    return tmp_path_factory.mktemp("released")


@pytest.fixture(autouse=True)
def here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(root))


class Spy:
    """The times that a student's own network is told."""

    def __init__(self, teacher: Any) -> None:
        self.told: list[float] = []
        self.teacher = teacher
        self.plain = teacher._load
        self.handle: Any = None

    def __enter__(self) -> Spy:
        def watched(*args: Any) -> Any:
            pipeline = self.plain(*args)
            network = made.denoiser(pipeline.pipe)
            inner = getattr(network, "network", network)
            if self.handle is None:
                self.handle = inner.register_forward_pre_hook(self.note, with_kwargs=True)
            return pipeline

        object.__setattr__(self.teacher, "_load", watched)
        return self

    def note(self, module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        time = named["timestep"] if "timestep" in named else args[1]
        self.told.append(float(torch.as_tensor(time).flatten()[0]))

    def __exit__(self, *error: object) -> None:
        object.__delattr__(self.teacher, "_load")
        if self.handle is not None:
            self.handle.remove()


def expected(card: Checkpoint, nfe: int) -> list[float]:
    """What the network should be told, in its own unit."""
    if card.unit == "sigma":
        return [250 * math.log(sigma) for sigma in card.timesteps[nfe]]
    if card.prediction == "data_velocity":
        return list(card.timesteps[nfe])
    if card.called_at != 1:
        return [math.floor(time * card.called_at) for time in card.timesteps[nfe]]
    told = [time * card.time_scale for time in card.timesteps[nfe]]
    told = [math.floor(time) for time in told] if card.time_floor else told
    inside = card.pipelines[0] in ("FluxPipeline",) or card.family == "SanaSprintPipeline"
    return [time / 1000 for time in told] if inside else told


def run(name: str, nfe: int) -> tuple[Any, Ledger, list[float]]:
    card = CARDS[name]
    teacher = made.teacher(card.pipelines[0])
    with Spy(teacher) as spy, made.tiny.quiet():
        samples, ledger = teacher.generate(load("method", name)(), nfe, 0, range(2))
    return samples, ledger, spy.told


@pytest.mark.parametrize("name", sorted(RUN))
def test_runs_as_prescribed(name: str, root: Path) -> None:
    card = CARDS[name]
    made.repository(card, root, card.pipelines[0])
    guided = card.guidance(min(card.timesteps)) != 1 and not card.embedded
    before = {k: v.clone() for k, v in made.denoiser(made.base(card.pipelines[0])).state_dict().items()}
    for nfe in {min(card.timesteps), max(n for n in card.timesteps if n <= 8)}:
        samples, ledger, told = run(name, nfe)
        assert torch.isfinite(samples).all()
        assert ledger.nfe == nfe
        assert ledger.network_rows == nfe * 2 * (2 if guided else 1)
        assert told == pytest.approx(expected(card, nfe), rel=2e-5, abs=2e-4)
    after = made.denoiser(made.base(card.pipelines[0])).state_dict()
    assert list(after) == list(before) and all(torch.equal(after[k], before[k]) for k in before)


@pytest.mark.parametrize("name", ["lcm_lora_sd15", "sdxl_lightning", "perflow_sd15", "flash_pixart"])
def test_the_student_is_not_the_teacher(name: str, root: Path) -> None:
    card = CARDS[name]
    kind = card.pipelines[0]
    made.repository(card, root, kind)
    teacher = made.teacher(kind)
    nfe = min(card.timesteps)
    with made.tiny.quiet():
        problem: Any = teacher.problem(0, range(2), Ledger())
        found = problem.checkpoint(card, nfe, 1.0).denoise(problem.x, 5.0)
        base = problem.denoise(problem.x, 5.0)
    assert (found - base).abs().max() > 1e-3


def test_a_network_that_cannot_be_told_the_scale_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["lcm_sdxl"]
    with made.tiny.quiet():
        made.base(card.pipelines[0]).unet.save_pretrained(tmp_path.joinpath(*card.repository.split("/")))
        problem: Any = made.teacher(card.pipelines[0]).problem(0, range(1), Ledger())
        with pytest.raises(Unsupported, match=r"is told the guidance scale, and this pipeline's UNet2D.* has no input"):
            problem.checkpoint(card, 4, None)


def test_a_lora_shares_the_weights_of_its_base(root: Path) -> None:
    card = CARDS["lcm_lora_sdxl"]
    made.repository(card, root, "StableDiffusionXLPipeline")
    teacher = made.teacher("StableDiffusionXLPipeline")
    own = {p.data_ptr() for p in made.denoiser(made.base("StableDiffusionXLPipeline")).parameters()}
    with made.tiny.quiet():
        student = teacher._load(card, 4, 1.0)
    mine = [p for n, p in made.denoiser(student.pipe).named_parameters() if "lora" not in n]
    assert mine and all(p.data_ptr() in own for p in mine)
    assert teacher._load(card, 4, 1.0) is student


def test_weights_that_are_missing_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    card = CARDS["sdxl_lightning"].model_copy(update={"repository": "nobody/no-such-model"})
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="not on this machine; hf download nobody/no-such-model --revision c9a24f48"):
        problem.checkpoint(card, 4, None)


def test_the_pinned_revision_of_the_hubs_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_RELEASED")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    card = CARDS["sdxl_lightning"]
    snapshots = tmp_path / "models--ByteDance--SDXL-Lightning" / "snapshots"
    other = snapshots / ("0" * 40) / card.files[4]
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another revision")
    with pytest.raises(Unsupported, match="is not on this machine"):
        locate(card, card.files[4])
    pinned = snapshots / card.revision / card.files[4]
    pinned.parent.mkdir()
    pinned.write_bytes(b"this one")
    assert locate(card, card.files[4]).read_bytes() == b"this one"


def test_one_file_of_a_repository_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache may know of files that were not fetched; what is there is used."""
    from huggingface_hub.errors import IncompleteSnapshotError

    monkeypatch.delenv("BENCH_RELEASED")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    card = CARDS["sdxl_lightning"]
    pinned = tmp_path / "models--ByteDance--SDXL-Lightning" / "snapshots" / card.revision / card.files[4]
    pinned.parent.mkdir(parents=True)
    pinned.write_bytes(b"this one")

    def incomplete(*args: Any, **named: Any) -> None:
        raise IncompleteSnapshotError("not all of it", str(pinned.parent))

    monkeypatch.setattr("huggingface_hub.snapshot_download", incomplete)
    assert locate(card, card.files[4]) == pinned
    with pytest.raises(Unsupported, match="is not on this machine"):
        locate(card, card.files[2])


def test_a_pickle_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["dmd2_sdxl_1step"]
    path = tmp_path.joinpath(*card.repository.split("/"), card.files[1])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not read")
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="is a pickle, which is not read; convert it to dmd2_sdxl_1step_unet"):
        problem.checkpoint(card, 1, None)


def test_a_damaged_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["sdxl_lightning"]
    path = tmp_path.joinpath(*card.repository.split("/"), card.files[4])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 broken")
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="is not a whole safetensors file"):
        problem.checkpoint(card, 4, None)


def test_weights_of_other_shapes_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["sdxl_lightning"]
    made.save({"conv_in.weight": torch.zeros(1)}, tmp_path.joinpath(*card.repository.split("/"), card.files[4]))
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="does not fit this pipeline's UNet2DConditionModel"):
        problem.checkpoint(card, 4, None)


def test_what_a_student_is_made_of_has_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    for name in ("animatelcm", "sd_turbo", "dmd2_sdxl_1step"):  # two files, a folder, a converted pickle
        card = CARDS[name]
        nfe = min(card.timesteps)
        with pytest.raises(Unsupported, match="hf download"):
            identity(card, nfe)
        folder = made.repository(card, tmp_path, card.pipelines[0])
        first = identity(card, nfe)
        assert len(first) == 64 and identity(card, nfe) == first
        assert identity(card, 33) == ""
        file = next(path for path in sorted(folder.rglob("*.safetensors")))
        made.save({key: value + 1 for key, value in made.load_file(file).items()}, file)
        assert identity(card, nfe) != first


def test_a_lora_of_other_layers_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["lcm_lora_sdxl"]
    folder = made.repository(card, tmp_path, "StableDiffusionXLPipeline")
    state = made.load_file(folder / card.files[0])
    more = {key.replace("down_blocks_0", "down_blocks_1"): value for key, value in state.items()}
    made.save({**state, **more}, folder / card.files[0])
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="does not fit this StableDiffusionXLPipeline"), made.tiny.quiet():
        problem.checkpoint(card, 4, None)


def test_text_encoders_are_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RELEASED", str(tmp_path))
    card = CARDS["lcm_lora_sdxl"]
    path = tmp_path.joinpath(*card.repository.split("/"), card.files[0])
    made.save({"lora_te1_text_model.lora_down.weight": torch.zeros(2, 2)}, path)
    problem: Any = made.teacher("StableDiffusionXLPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match="also changes the text encoders"):
        problem.checkpoint(card, 4, None)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_another_architecture_is_named(name: str) -> None:
    card = CARDS[name]
    kind = "StableDiffusionPipeline" if "StableDiffusionPipeline" not in card.pipelines else "StableDiffusionXLPipeline"
    problem: Any = made.teacher(kind).problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match=rf"student of {card.base[0]} \({card.pipelines[0]}\), not of .* {kind}"):
        problem.checkpoint(card, min(card.timesteps), None)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_other_budgets_are_unsupported(name: str) -> None:
    card = CARDS[name]
    problem: Any = made.teacher("StableDiffusionPipeline").problem(0, range(1), Ledger())
    with pytest.raises(Unsupported, match=f"released for {card.budgets} evaluations, not 33"):
        load("method", name)().sample(problem, 33)


def test_a_suite_without_a_pipeline_is_unsupported() -> None:
    from bench.sampling import Teacher
    from bench.suites.mixture import Mixture

    teacher = Teacher.load(Mixture())
    with pytest.raises(Unsupported, match="needs the diffusers suite of that model"):
        teacher.generate(load("method", "sd_turbo")(), 1, 0, range(2))
