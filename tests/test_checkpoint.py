"""Checkpoints: found again by the same call on any number of threads, and by no other; damage is named and mended."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import sympy
import xarray as xr

import sdetheory as sdt
from sdetheory.kernels.functions import fingerprint

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


def test_a_seed_is_asked_for_beside_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="rng: expected a seed beside a checkpoint, got None"):
        sdt.simulate(OU, [1.0], t1=0.5, dt=0.01, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("folder", "error"), [(3, TypeError), ("file", ValueError), ("file/in it", ValueError)])
def test_what_is_no_folder_is_refused_by_name(tmp_path, folder, error):
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match="checkpoint: expected "):
        ou(checkpoint=folder if isinstance(folder, int) else tmp_path / folder)


def test_what_a_killed_process_has_half_written_is_cleared_away(tmp_path):
    ou(checkpoint=tmp_path)
    (folder,) = tmp_path.iterdir()
    old, new = folder / "tmp1.partial", folder / "tmp2.partial"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    ou(checkpoint=tmp_path)
    assert not old.exists() and new.exists()  # which another process may be writing


RUN = """
import sys, sympy, sdetheory as sdt
x, y = sympy.symbols("x y", real=True)
loss = sdt.losses.Loss.of(x**2 * y**2 / (x**2 + y**2)**2, [x, y])
if "read" in sys.argv:
    loss.gradient([1.0, 2.0]), loss.hessian([1.0, 2.0]), loss.gradient_kernel
runs = sdt.simulate(sdt.SGD(loss, lr=0.125), loss.sample_sphere(), n_steps=300, n_paths=40_000, rng=3, chunk_size=512,
                    checkpoint=sys.argv[1])
print(float(runs.w.sum()))
"""


def test_two_processes_share_a_folder_at_the_same_time(tmp_path):
    """The one has read what the loss knows of itself before, the other has not; symbols of SymPy have other numbers in each."""
    runs = [subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True) for more in ([], ["read"])]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert said[0] == said[1] and float(said[0]), said
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("chunk_*.npz"))) == -(-40_000 // 512) and not list(folder.glob("*.partial"))


class Scaled(sdt.starts.NormalWeights):
    """A start of the user's own."""

    factor = 1.0

    def sample_block(self, block, first, key):
        super().sample_block(block, first, key)
        block *= FACTOR


FACTOR = 1.0


def test_what_a_class_of_the_users_does_decides_which_checkpoint_it_finds(tmp_path, monkeypatch):
    def run():
        return sdt.simulate(OU, Scaled(1), n_steps=0, dt=0.1, n_paths=600, rng=0, checkpoint=tmp_path).x.values

    before = run()
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert (run() == 2 * before).all() and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("read", ["noise_types", "is_rough", "real"])
def test_what_was_asked_of_an_sde_before_decides_nothing(read):
    fresh, asked = sdt.SDE([x], [-x], [[1 + x]]), sdt.SDE([x], [-x], [[1 + x]])
    getattr(asked, read)
    assert read in vars(asked) and fingerprint(fresh) == fingerprint(asked) != fingerprint(sdt.SDE([x], [-x], [[2 + x]]))


def test_what_was_asked_of_a_loss_decides_nothing_and_its_formula_does():
    from sdetheory.engine.rows import total

    def quartic(power):
        return sdt.losses.Loss.of(lambda w: total(w**power) / total(w**2) ** (power // 2), dim=3)

    asked = quartic(4)
    asked.hessian([1.0, 2.0, 3.0]), asked.gradient_kernel
    assert fingerprint(asked) == fingerprint(quartic(4)) != fingerprint(quartic(6))
