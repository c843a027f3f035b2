"""Statistics from every kind of source: the same numbers, whatever held the pixels."""

from __future__ import annotations

import sys
import tarfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.errors import AssetError, UsageError
from bench.reference.moments import BLOCK, Moments
from bench.reference.sources import open_source

COMMIT = "0123456789" * 4


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_are_numpys(offset: float) -> None:
    rows = (np.random.default_rng(0).standard_normal((3 * BLOCK + 7, 5)) + offset).astype(np.float32)
    moments = Moments()
    for part in np.array_split(rows, 50):
        moments.add(part)
    mean, covariance, sample = moments.finish()
    assert np.allclose(mean, rows.astype(np.float64).mean(0), rtol=1e-14)
    assert np.allclose(covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-10, atol=1e-11)
    assert np.array_equal(covariance, covariance.T) and sample is None


def test_batches_leave_no_trace() -> None:
    rows = np.random.default_rng(0).standard_normal((2 * BLOCK + 3, 4)).astype(np.float32)
    found = []
    for parts in (1, 7, len(rows)):
        moments = Moments(keep=20, seed=1)
        for part in np.array_split(rows, parts):
            moments.add(part)
        found.append(moments.finish())
    for other in found[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_the_kept_features_are_a_uniform_sample() -> None:
    rows = np.arange(200, dtype=np.float32)[:, None]
    hits = np.zeros(200)
    for seed in range(300):
        moments = Moments(keep=20, seed=seed)
        moments.add(rows)
        sample = moments.finish()[2]
        chosen = sample[:, 0].astype(int)
        assert len(set(chosen)) == 20
        hits[chosen] += 1
    # each is chosen with probability 1/10: 30 +- 5.2 times; thirds of the stream 2000 +- 41 times
    assert hits.max() < 30 + 5 * 5.2 and hits.min() > 30 - 5 * 5.2
    assert np.all(np.abs(np.add.reduceat(hits, [0, 100]) - 3000) < 5 * 52)


def test_too_few_and_not_finite() -> None:
    moments = Moments()
    moments.add(np.zeros((1, 3), np.float32))
    with pytest.raises(UsageError, match="need at least 2 images, there is 1"):
        moments.finish()
    with pytest.raises(AssetError, match="not finite"):
        moments.add(np.full((1, 3), np.nan, np.float32))


def test_every_container_gives_the_same(make, photos, shard, pixels, tmp_path, monkeypatch) -> None:
    np.savez(tmp_path / "samples.npz", arr_0=pixels)
    rows = [{"image": Image.fromarray(image)} for image in pixels]

    class Rows(list):
        column_names = ("image",)

    asked = []
    fake = SimpleNamespace(load_dataset=lambda *args, **more: asked.append((args, more)) or Rows(rows))
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    from_folder = make(photos, keep=15)
    others = [
        shard,
        tmp_path / "samples.npz",
        f"torchvision:ImageFolder?root={photos}",
        f"hf:owner/name?revision={COMMIT}&split=test",
    ]
    for source in others:
        found = make(source, keep=15)
        assert found.id == from_folder.id, source
        assert found.provenance["content_sha256"] == from_folder.provenance["content_sha256"]
    terms = {"split": "test", "revision": COMMIT, "streaming": True, "trust_remote_code": False}
    assert asked == [(("owner/name", None), terms)]
    assert found.provenance["source"] == {
        "kind": "hf", "name": "owner/name", "split": "test", "column": "image", "revision": COMMIT
    }  # fmt: skip
    values = pixels.astype(np.float64)
    expected = np.concatenate([values.mean((1, 2)), values.std((1, 2), ddof=1)], 1)
    assert from_folder.count == 40 and from_folder.resolution == (12, 12)
    assert np.allclose(from_folder.mean, expected.mean(0), rtol=1e-6)
    assert np.allclose(from_folder.covariance, np.cov(expected, rowvar=False), rtol=1e-3, atol=1e-3)
    assert from_folder.features.shape == (15, 6)


def test_a_folder_of_shards(make, shard, photos) -> None:
    (shard.parent / "shards").mkdir()
    shard.rename(shard.parent / "shards" / "0.tar")
    assert make(shard.parent / "shards").id == make(photos).id


def test_the_first_ones_only(make, photos) -> None:
    found = make(photos, limit=10)
    assert found.count == 10 and found.provenance["limit"] == 10


@pytest.mark.parametrize(("way", "method"), [("center-lanczos", "LANCZOS"), ("center-bicubic", "BICUBIC")])
def test_squares_are_torchvisions(way: str, method: str) -> None:
    from torchvision.transforms import functional

    from bench.reference.images import Preparation

    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    square = functional.center_crop(Image.fromarray(image), [30, 30])
    expected = functional.resize(square, [8, 8], functional.InterpolationMode[method])
    assert np.array_equal(Preparation(way, 8)("x", image), np.asarray(expected))


def test_the_way_of_guided_diffusion() -> None:
    """As its ``center_crop_arr`` is written: box filter by halves, bicubic on the shorter side, crop."""
    from torchvision.transforms import functional

    from bench.reference.images import Preparation

    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    half = functional.resize(Image.fromarray(image), [35, 45], functional.InterpolationMode.BOX)
    small = functional.resize(half, [28, 36], functional.InterpolationMode.BICUBIC)
    expected = np.asarray(functional.center_crop(small, [28, 28]))
    assert np.array_equal(Preparation("center-adm", 28)("x", image), expected)


def test_images_of_several_sizes(make, tmp_path) -> None:
    for number, size in enumerate([(10, 20), (10, 20), (30, 12)]):
        Image.new("L", size, 40 * number).save(tmp_path / f"{number}.png")
    found = make(tmp_path)
    assert found.resolution is None and found.count == 3
    assert found.mean[:3] == pytest.approx([40, 40, 40])  # grey becomes RGB
    assert make(tmp_path, "center-bicubic", 8).resolution == (8, 8)
    with pytest.raises(AssetError, match=r"0.png is 20x10, not 8x8; add --preprocessing center-lanczos"):
        make(tmp_path, resolution=8)
    with pytest.raises(UsageError, match="preprocessing center-adm needs a size; add --resolution N"):
        make(tmp_path, "center-adm")
    with pytest.raises(UsageError, match="unknown preprocessing 'center'"):
        make(tmp_path, "center", 8)


def test_a_truncated_image_is_named_or_counted(make, photos) -> None:
    whole = make(photos)
    bad = photos / "a" / "005.png"
    bad.write_bytes(bad.read_bytes()[:200])
    (photos / "a" / "006.png").write_bytes(b"not an image")
    with pytest.raises(AssetError, match=r"a/005.png cannot be decoded \(.*\); restore it, or .* --skip-bad") as caught:
        make(photos)
    assert "\n" not in str(caught.value)
    found = make(photos, skip_bad=True)
    assert found.count == 38 and found.id != whole.id
    assert found.provenance["skipped"] == {"count": 2, "first": ["a/005.png", "a/006.png"]}


def test_a_tar_that_breaks_off(make, shard) -> None:
    shard.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(AssetError, match=r"shard.tar breaks off or is damaged"):
        make(shard)


def test_npz_files_that_are_no_images(make, tmp_path, pixels) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, arr_0=pixels.astype(np.float32))
    with pytest.raises(AssetError, match=r"arr_0 of float32 .*, not images"):
        make(path)
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(AssetError, match=r"has no images \(arr_0\).*bench reference import"):
        make(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(AssetError, match="cannot be read"):
        make(path)


def test_sources_that_are_none(tmp_path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("a")
    for text, said in [
        (str(tmp_path / "none"), "there is no .*none; name a folder"),
        (str(tmp_path / "empty"), "no images and no .tar files"),
        (str(tmp_path / "a.txt"), "is neither a folder nor a .tar or .npz file"),
        ("torchvision:CIFAR11", "unknown data set of torchvision 'CIFAR11'; did you mean .*CIFAR10"),
        ("torchvision:CIFAR10?spilt=train", "unknown parameter of torchvision's CIFAR10 'spilt'; did you mean split"),
        ("torchvision:CIFAR10?download=1", "unknown parameter of torchvision's CIFAR10 'download'"),
        ("torchvision:CIFAR10?split=val", "has the splits train and test, not 'val'"),
        ("hf:owner/name", "hf:owner/name may change; pin it with"),
        (f"hf:owner/name?revison={COMMIT}", "unknown parameter .* 'revison'; did you mean revision"),
    ]:
        with pytest.raises(UsageError, match=said):
            open_source(text)
    with pytest.raises(AssetError, match=r"CIFAR10 cannot be read from .*empty \(Dataset not found.*root=DIR"):
        open_source(f"torchvision:CIFAR10?split=test&root={tmp_path / 'empty'}")


def test_the_hub_out_of_reach(monkeypatch) -> None:
    def unreachable(*args: object, **more: object) -> None:
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub\nmore")

    text = f"hf:owner/name?revision={COMMIT}"
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=unreachable))
    with pytest.raises(AssetError, match=r"hf:owner/name cannot be had \(Couldn't reach .* on the Hub\)"):
        open_source(text)

    class Breaks(list):
        column_names = ("image",)

        def __iter__(self):
            yield from super().__iter__()
            raise RuntimeError("the connection is gone\nand more")

    rows = Breaks([{"image": np.zeros((4, 4, 3), np.uint8)}] * 3)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: rows))
    with pytest.raises(AssetError, match=r"hf:owner/name broke off after 3 images \(the connection is gone\)"):
        list(open_source(text).items())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="pip install datasets"):
        open_source(text)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(AssetError, match="BENCH_OFFLINE is set"):
        open_source(text)


def test_a_data_set_without_files(make) -> None:
    assert make("torchvision:FakeData?size=20").count == 20


def test_memory_does_not_grow_with_the_images(make, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.tar"
        data = Path(tmp_path / "one.png")
        Image.new("RGB", (32, 32), (1, 2, 3)).save(data)
        with tarfile.open(path, "w") as archive:
            for number in range(count):
                archive.add(data, f"{number}.png")
        tracemalloc.start()
        try:
            make(path, keep=10)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(40)  # imports
    assert peak(2500) < 1.05 * peak(1100)  # both have met a full block
