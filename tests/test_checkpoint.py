"""Checkpoints: found again by the same call on any number of threads, and by no other; damage is named and mended."""

from __future__ import annotations

import pytest
import sympy
import xarray as xr

import sdetheory as sdt

x = sympy.Symbol("x", real=True)
OU = sdt.SDE([x], drift=[-0.7 * x], diffusion=[[0.4]])


def ou(**options):
    return sdt.simulate(OU, [1.0], t1=0.5, dt=0.01, n_paths=1500, save_every=7, rng=5, **options)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:len(content) // 2],
                                    lambda content: content[:-30] + b"x" * 30, lambda content: b"contains pickled data"])
def test_a_damaged_chunk_of_a_checkpoint_is_named_and_computed_again(tmp_path, damage):
    whole = ou(chunk_size=512, checkpoint=tmp_path)
    path = sorted(tmp_path.glob("*/chunk_*.npz"))[1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RuntimeWarning, match=f"{path.name} is damaged"):
        again = ou(chunk_size=512, checkpoint=tmp_path)
    xr.testing.assert_identical(again, whole)


def test_a_chunk_of_another_place_is_refused_by_name(tmp_path):
    ou(chunk_size=512, checkpoint=tmp_path)
    first, second = sorted(tmp_path.glob("*/chunk_*.npz"))[:2]
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=f"checkpoint: expected .*{second.name} to hold first_block"):
        ou(chunk_size=512, checkpoint=tmp_path)


def test_a_checkpoint_is_found_again_on_another_number_of_threads(tmp_path):
    ou(checkpoint=tmp_path, n_threads=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/chunk_*.npz")}
    ou(checkpoint=tmp_path, n_threads=3)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/chunk_*.npz")}


def test_what_a_function_computes_decides_which_checkpoint_it_finds(tmp_path):
    factor = 2.0

    def scaled(x):
        return factor * x

    def run():
        return float(ou(observe={"f": scaled}, checkpoint=tmp_path).f.mean())

    before = run()
    factor = 3.0
    assert run() == pytest.approx(1.5 * before)
    assert len(list(tmp_path.iterdir())) == 2
