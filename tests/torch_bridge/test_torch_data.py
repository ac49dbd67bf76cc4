"""Data: minibatches are a function of (seed, step); CIFAR-10 is read from its archive or refused by the name of the file."""

import pickle
import tarfile

import numpy as np
import pytest
import torch
from scipy import stats

from sdetheory.torch.cifar import FOLDER, cifar10
from sdetheory.torch.data import Minibatches, digits, teacher_student

FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def test_digits_are_all_there_standardised_and_split_by_the_seed():
    data = digits(dtype=torch.float64, rng=3)
    every = torch.cat([data.train_inputs, data.test_inputs])
    assert every.shape == (1797, 1, 8, 8)
    assert abs(every.mean()) < 1e-12 and abs(every.std(unbiased=False) - 1) < 1e-12
    assert torch.bincount(torch.cat([data.train_targets, data.test_targets])).sum() == 1797 and data.n_outputs == 10
    assert torch.equal(digits(rng=3).train_targets, data.train_targets)
    assert not torch.equal(digits(rng=4).train_targets, data.train_targets)


def test_a_batch_is_a_function_of_seed_and_step():
    data = teacher_student(100, 10)
    first, again = (data.minibatches(16, rng=5) for _ in range(2))
    later = first[3][0]
    for k in range(3):
        first[k]
    assert torch.equal(later, again[3][0])
    assert not torch.equal(later, again[4][0]) and not torch.equal(later, data.minibatches(16, rng=6)[3][0])


def test_with_replacement_every_sample_is_drawn_equally_often():
    stream = Minibatches(torch.zeros(10, 1), torch.zeros(10), 20, rng=1)
    counts = np.bincount(np.concatenate([stream.indices(k) for k in range(500)]), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_without_replacement_an_epoch_has_every_sample_once():
    stream = Minibatches(torch.zeros(10, 1), torch.zeros(10), 3, rng=1, replacement=False)
    epochs = [np.concatenate([stream.indices(k) for k in range(3 * e, 3 * e + 3)]) for e in range(4)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_batches_of_a_path_do_not_depend_on_which_others_are_asked_for():
    stream = Minibatches(torch.zeros(50, 1), torch.zeros(50), 7, rng=1)
    together = stream.indices(4, paths=[2, 0, 5])
    alone = Minibatches(torch.zeros(50, 1), torch.zeros(50), 7, rng=1, path=5).indices(4)
    assert np.array_equal(together[2], alone) and np.array_equal(together[1], stream.indices(4))


def test_a_teacher_labels_without_noise_what_it_is_tested_on():
    clean, noisy = (teacher_student(200, 100, targets="values", noise=s, dtype=torch.float64, rng=2) for s in (0.0, 0.5))
    assert torch.equal(clean.test_targets, noisy.test_targets)
    residual = (noisy.train_targets - clean.train_targets).flatten()
    assert abs(residual.std().item() / 0.5 - 1) < 5 / (2 * residual.numel()) ** 0.5


@pytest.mark.parametrize("inputs, targets, error, text", [
    (torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4), TypeError, "floating-point numbers, got torch.int64"),
    (torch.zeros(0, 2), torch.zeros(0), ValueError, "at least one sample"),
    (torch.zeros(4, 2), torch.zeros(3), ValueError, "one for each of 4 inputs, got 3"),
    (np.zeros((4, 2)), torch.zeros(4), TypeError, "expected a torch.Tensor, got ndarray"),
])
def test_integer_and_empty_batches_are_refused(inputs, targets, error, text):
    with pytest.raises(error, match=text):
        Minibatches(inputs, targets, 2, rng=0)


def test_minibatches_are_asked_for_by_step_and_not_looped_over():
    with pytest.raises(TypeError, match="endless loop"):
        list(teacher_student(10, 10).minibatches(2, rng=0))


@pytest.fixture
def archive(tmp_path):
    """A tiny CIFAR-10: 3 images a file."""
    rng = np.random.default_rng(0)
    folder = tmp_path / FOLDER
    folder.mkdir()
    for name in FILES:
        held = {b"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8), b"labels": rng.integers(0, 10, 3).tolist(),
                b"batch_label": name.encode(), b"filenames": [b"a.png"] * 3}
        (folder / name).write_bytes(pickle.dumps(held, protocol=2))
    return folder


def test_cifar10_is_read_from_folder_parent_and_archive_alike(archive, tmp_path):
    packed = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(archive, arcname=FOLDER)
    first, *others = (cifar10(path, dtype=torch.float64) for path in (archive, archive.parent, packed))
    assert first.train_inputs.shape == (15, 3, 32, 32) and first.test_inputs.shape == (3, 3, 32, 32)
    for other in others:
        assert torch.equal(first.train_inputs, other.train_inputs) and torch.equal(first.test_targets, other.test_targets)
    raw = pickle.loads((archive / "data_batch_1").read_bytes(), encoding="bytes")
    x = first.train_inputs
    assert x.mean((0, 2, 3)).abs().max() < 1e-12 and (x.std((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-12
    # the first row of bytes is the red plane of the first image, row by row, up to shift and scale
    red = raw[b"data"][0, :1024].reshape(32, 32).astype(float)
    assert np.corrcoef(red.ravel(), x[0, 0].numpy().ravel())[0, 1] == pytest.approx(1, abs=1e-12)
    assert first.train_targets[:3].tolist() == raw[b"labels"]


def _rewrite(folder, name, **changes):
    held = pickle.loads((folder / name).read_bytes(), encoding="bytes")
    held.update({k.encode(): v for k, v in changes.items()})
    (folder / name).write_bytes(pickle.dumps(held, protocol=2))


@pytest.mark.parametrize("damage, error, text", [
    (lambda f: (f / "data_batch_3").unlink(), FileNotFoundError, "found no data_batch_3; download cifar-10-python"),
    (lambda f: (f / "test_batch").write_bytes((f / "test_batch").read_bytes()[:5000]), ValueError, "test_batch: .*unreadable"),
    (lambda f: _rewrite(f, "data_batch_2", data=np.zeros((3, 3071), np.uint8)), ValueError, r"data_batch_2: .*\(3, 3071\)"),
    (lambda f: _rewrite(f, "data_batch_2", labels=[1, 2]), ValueError, "data_batch_2: expected 3 labels"),
    (lambda f: _rewrite(f, "data_batch_2", labels=[1, 2, 10]), ValueError, "up to 10"),
    (lambda f: (f / "data_batch_1").write_bytes(pickle.dumps([1])), ValueError, "data_batch_1: expected a dict"),
    (lambda f: (f / "data_batch_1").write_bytes(pickle.dumps(print)), ValueError, "builtins.print, which is no array|no array"),
])
def test_a_missing_or_damaged_file_is_refused_by_name(archive, damage, error, text):
    damage(archive)
    with pytest.raises(error, match=text):
        cifar10(archive)


def test_no_archive_and_a_broken_one_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="found nothing; download"):
        cifar10(tmp_path / "nowhere")
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b not an archive")
    with pytest.raises(ValueError, match="whole .tar.gz archive"):
        cifar10(tmp_path / "broken.tar.gz")
