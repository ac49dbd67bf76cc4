"""Needs the extra `torch`. Not a folder called `torch`: tests/ is on the path, and it would stand for the package."""

from importlib.util import find_spec

import pytest

if find_spec("torch") is None:
    collect_ignore_glob = ["test_*"]
else:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def global_random_state_is_left_alone(request):
    """The house rule, for every test of the bridge."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), f"{request.node.name} drew from torch's global generator"
