"""Files of statistics: our own, and those of other programs."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import AssetError, UsageError
from bench.reference.foreign import Told, read_foreign
from bench.reference.statistics import Reference, load

TOLD = Told("inception-v3-tf@6726825d/legacy", (32, 32), 50_000)


@pytest.fixture
def reference() -> Reference:
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    return Reference(
        "pooled@1/none", (8, 8), "none", 50, rows.mean(0).astype(np.float64),
        np.cov(rows, rowvar=False), rows[:20], {"source": {"name": "photos"}},
    )  # fmt: skip


def test_what_is_saved_is_read_again(tmp_path, reference) -> None:
    reference.save(tmp_path / "r.npz")
    found = load(tmp_path / "r.npz")
    assert found.id == reference.id and len(found.id) == 8
    for name in ("extractor", "resolution", "preprocessing", "count", "provenance"):
        assert getattr(found, name) == getattr(reference, name)
    for name in ("mean", "covariance", "features"):
        assert np.array_equal(getattr(found, name), getattr(reference, name))
    with np.load(tmp_path / "r.npz", allow_pickle=False) as archive:
        assert json.loads(archive["header"].tobytes())["count"] == 50
    assert [p.name for p in tmp_path.iterdir()] == ["r.npz"]


def test_without_features_and_resolution(tmp_path, reference) -> None:
    replace(reference, features=None, resolution=None).save(tmp_path / "r.npz")
    found = load(tmp_path / "r.npz")
    assert found.features is None and found.resolution is None


def test_the_id_is_of_what_it_says(reference) -> None:
    assert replace(reference, provenance={}).id == reference.id
    changed = [
        replace(reference, extractor="other"),
        replace(reference, resolution=None),
        replace(reference, count=51),
        replace(reference, preprocessing="center-adm"),
        replace(reference, mean=reference.mean + 1e-12),
        replace(reference, features=None),
    ]
    assert len({reference.id, *(one.id for one in changed)}) == 7


def test_a_mismatch_is_refused(reference) -> None:
    reference.check("pooled@1/none", (8, 8), "none")
    reference.check("pooled@1/none")
    replace(reference, resolution=None).check("pooled@1/none", (9, 9), "none")
    for asked, said in [
        (("other", (8, 8), "none"), r"has extractor pooled@1/none, not other; such numbers are not comparable"),
        (("pooled@1/none", (8, 9), "none"), r"has resolution 8x8, not 8x9"),
        (("pooled@1/none", (8, 8), "center-adm"), r"has preprocessing none, not center-adm"),
        (("other", (9, 9), "none"), r"has extractor pooled@1/none, not other and resolution 8x8, not 9x9"),
    ]:
        with pytest.raises(UsageError, match=said):
            reference.check(*asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": np.zeros(3)}, "a mean of shape"),
        ({"covariance": np.zeros((4, 3))}, "with a covariance of shape"),
        ({"features": np.zeros((2, 3), np.float32)}, "features of shape"),
        ({"count": 1}, "a count of 1"),
        ({"mean": np.full(4, np.inf)}, "not finite"),
        ({"covariance": np.triu(np.ones((4, 4)))}, "not symmetric"),
    ],
)
def test_what_are_no_statistics(reference, change: dict[str, object], said: str) -> None:
    with pytest.raises(AssetError, match=said):
        replace(reference, **change)


def test_files_that_are_damaged_or_others(tmp_path, reference) -> None:
    path = tmp_path / "r.npz"
    with pytest.raises(AssetError, match="there is no file"):
        load(path)
    reference.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetError, match="cannot be read as reference statistics"):
        load(path)
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(AssetError, match=r"is not a reference of this program; run bench reference import"):
        load(path)
    np.savez(path, header=np.frombuffer(b'{"format": "fewstep-bench reference 9"}', np.uint8), mean=1, covariance=1)
    with pytest.raises(AssetError, match=r"has format 'fewstep-bench reference 9'.*upgrade bench"):
        load(path)
    np.savez(path, header=np.array([{}], dtype=object), mean=1, covariance=1)
    with pytest.raises(AssetError, match="cannot be read as reference statistics"):
        load(path)
    path.write_bytes(b"text")
    with pytest.raises(AssetError, match="cannot be read as reference statistics"):
        load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mu_and_sigma(tmp_path, reference, save) -> None:
    """What EDM, clean-fid, pytorch-fid and TTUR write."""
    save(tmp_path / "edm.npz", mu=reference.mean.astype(np.float32), sigma=reference.covariance)
    found = read_foreign(tmp_path / "edm.npz", TOLD)
    assert (found.extractor, found.resolution, found.count) == (TOLD.extractor, (32, 32), 50_000)
    assert found.preprocessing == "unstated" and found.features is None
    assert np.array_equal(found.covariance, reference.covariance)
    assert found.mean.dtype == np.float64 and found.mean == pytest.approx(reference.mean, rel=1e-6)
    assert found.provenance["made"] == "imported" and len(found.provenance["content_sha256"]) == 64


def test_adm(tmp_path, reference) -> None:
    zeros, ones = np.zeros((2, 2)), np.ones(2)
    np.savez(
        tmp_path / "VIRTUAL.npz", arr_0=np.zeros((1, 2, 2, 3), np.uint8),
        mu=reference.mean, sigma=reference.covariance, mu_s=ones, sigma_s=zeros,
    )  # fmt: skip
    assert np.array_equal(read_foreign(tmp_path / "VIRTUAL.npz", TOLD).mean, reference.mean)
    assert np.array_equal(read_foreign(tmp_path / "VIRTUAL.npz", replace(TOLD, which="spatial")).mean, ones)
    np.savez(tmp_path / "samples.npz", arr_0=np.zeros((1, 2, 2, 3), np.uint8))
    with pytest.raises(AssetError, match="holds images, not statistics; run bench reference build"):
        read_foreign(tmp_path / "samples.npz", TOLD)


def test_features_of_clean_fid(tmp_path) -> None:
    """What clean-fid keeps for KID, beside the file for FID: the features of all images."""
    rows = np.random.default_rng(1).standard_normal((30, 4)).astype(np.float32)
    np.savez_compressed(tmp_path / "photos_clean_custom_na_kid.npz", feats=rows)
    found = read_foreign(tmp_path / "photos_clean_custom_na_kid.npz", replace(TOLD, count=30))
    assert np.array_equal(found.features, rows) and found.features.dtype == np.float32
    assert found.mean == pytest.approx(rows.astype(np.float64).mean(0), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(rows.astype(np.float64), rowvar=False), rel=1e-12)
    with pytest.raises(AssetError, match="has features of 30 images, not of 50,000; state the right count"):
        read_foreign(tmp_path / "photos_clean_custom_na_kid.npz", TOLD)
    np.savez(tmp_path / "flat.npz", feats=rows[0])
    with pytest.raises(AssetError, match=r"has feats of shape \(4,\), not \(n, d\)"):
        read_foreign(tmp_path / "flat.npz", TOLD)


class Harm:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("name", ["edm2.pkl", "renamed.npz"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"mu": Harm()}))
    with pytest.raises(AssetError, match=r"is a Python pickle .*save its mu and sigma by numpy.savez"):
        read_foreign(tmp_path / name, TOLD)


def test_foreign_files_that_are_something_else(tmp_path, reference) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(UsageError, match="there is no file"):
        read_foreign(path, TOLD)
    reference.save(path)
    with pytest.raises(AssetError, match="is a reference of this program already"):
        read_foreign(path, TOLD)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(AssetError, match="has mean, not mu and sigma"):
        read_foreign(path, TOLD)
    np.savez(path, mu=np.array([{}], dtype=object), sigma=np.zeros((1, 1)))
    with pytest.raises(AssetError, match=r"cannot be read as an .npz file without pickles"):
        read_foreign(path, TOLD)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(AssetError, match=r"cannot be read as an .npz file"):
        read_foreign(tmp_path / "one.npy", TOLD)
