"""Data: minibatches are a function of (seed, step); CIFAR-10 is read from its archive or refused by the name of the file."""

import pickle
import tarfile

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from sdetheory.torch.augmentation import CropAndFlip
from sdetheory.torch.cifar import FOLDER, cifar10
from sdetheory.torch.curvature import ntk, ntk_top_eigenvalue, sharpness
from sdetheory.torch.data import Minibatches, digits, teacher_student
from sdetheory.torch.ensembles import Ensemble
from sdetheory.torch.gradient_moments import gradient_moments
from sdetheory.torch.invariance import scale_invariance
from sdetheory.torch.nets import mlp

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


def test_an_archive_with_one_bit_flipped_is_refused_by_name(archive, tmp_path):
    """What holds no data is left alone: gzip's header, and the last byte of the stream, of which not all bits are taken."""
    whole, damaged = tmp_path / "whole.tar.gz", tmp_path / "damaged.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        tar.add(archive, arcname=FOLDER)
    content = whole.read_bytes()
    start = content.index(b"\0", 10) + 1  # behind the name that gzip keeps of the file
    for at in [*np.linspace(start, len(content) - 10, 60).astype(int), len(content) - 8, len(content) - 1]:
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1:])
        with pytest.raises(ValueError, match=r"damaged\.tar\.gz: expected a whole \.tar\.gz archive"):
            cifar10(damaged)


def test_an_augmented_image_is_a_crop_of_the_padded_one_or_of_its_mirror():
    images = torch.arange(1.0, 2 * 3 * 5 * 7 + 1).reshape(2, 3, 5, 7)
    change, p = CropAndFlip(padding=2), 2
    for a, b in np.ndindex(2 * p + 1, 2 * p + 1):
        u = np.array([[(a + 0.5) / (2 * p + 1), (b + 0.5) / (2 * p + 1), mirror] for mirror in (0.25, 0.75)])
        mirrored, plain = change(images, u)
        framed = np.pad(images.numpy(), [(0, 0), (0, 0), (p, p), (p, p)])  # the plain way
        np.testing.assert_array_equal(plain, framed[1, :, a:a + 5, b:b + 7])
        np.testing.assert_array_equal(mirrored, framed[0, :, a:a + 5, b:b + 7][..., ::-1])
    assert torch.equal(CropAndFlip(0, flip=False)(images, np.zeros((2, 3))), images)


def test_cifar10_is_augmented_by_seed_step_and_path_alone(archive):
    data = cifar10(archive, dtype=torch.float64)
    first, again = (data.minibatches(8, rng=5, augment=CropAndFlip()) for _ in range(2))
    later, targets = first[3]
    first[0]
    assert torch.equal(later, again[3][0]) and not torch.equal(later, again[4][0])
    assert not torch.equal(later, data.minibatches(8, rng=6, augment=CropAndFlip())[3][0])
    raw, raw_targets = data.minibatches(8, rng=5)[3]
    assert torch.equal(targets, raw_targets) and later.shape == raw.shape and not torch.equal(later, raw)
    inputs, labels = again.at(3, paths=[2, 0])
    assert torch.equal(inputs[1], later) and torch.equal(labels[1], targets) and not torch.equal(inputs[0], later)
    assert "CropAndFlip(padding=4" in repr(first)


def test_crops_and_mirrors_are_drawn_equally_often_and_independently():
    # of an image with one bright pixel in the middle, the place and the side of it tell what was done
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4], image[0, 0, 4, 3] = 2.0, 1.0
    batch = Minibatches(image, torch.zeros(1), 2000, rng=7, augment=CropAndFlip(padding=1))[0][0]
    bright = (batch == 2).flatten(1).int().argmax(1)
    mirrored = (batch == 1).flatten(1).int().argmax(1) > bright
    counts = np.bincount((3 * (bright // 9 - 3) + bright % 9 - 3).numpy() + 9 * mirrored.numpy(), minlength=18)
    assert len(counts) == 18 and stats.chisquare(counts).pvalue > 1e-4


def test_augmentation_is_of_images():
    with pytest.raises(ValueError, match=r"inputs: expected images .* got shape \(10, 16\); leave out augment"):
        teacher_student(10, 10).minibatches(2, rng=0, augment=CropAndFlip())
    with pytest.raises(ValueError, match="padding: expected an integer >= 0"):
        CropAndFlip(padding=-1)


@pytest.mark.parametrize("wrong, error, text", [
    (torch.zeros(4, 64, dtype=torch.int64), TypeError, "floating-point numbers, got torch.int64"),
    (torch.zeros(0, 64), ValueError, "at least one sample"),
])
def test_integer_and_empty_batches_are_refused_wherever_they_are_given(wrong, error, text):
    net, y = mlp(64, width=8, norm="layer", rng=0), torch.zeros(len(wrong), dtype=torch.int64)
    good = digits().minibatches(4, rng=0)[0]
    for take in (lambda: scale_invariance(net, cross_entropy, wrong, y), lambda: sharpness(net, cross_entropy, wrong, y),
                 lambda: ntk_top_eigenvalue(net, wrong), lambda: ntk(net, wrong),
                 lambda: gradient_moments(net, cross_entropy, [good, (wrong, y)], {"all": [net.get_parameter("1.weight")]}),
                 lambda: Ensemble(lambda rng: mlp(64, width=8, rng=rng), 2, rng=0).outputs(wrong),
                 lambda: Minibatches(wrong, y, 1, rng=0)):
        with pytest.raises(error, match=text):
            take()
