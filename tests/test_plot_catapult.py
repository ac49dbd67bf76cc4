"""Phase maps, orbits and films of the catapult: what they draw and count, and what they refuse."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import sdetheory as sdt
from sdetheory import plot
from sdetheory.dynamics.uv_maps import OutputCurvatureMap

X, WIDTHS = np.array([1.0, 1.5, 2.5, 3.5, 4.5]), np.array([4.0, 40.0, 400.0])
RIGHT = np.array([[0, 0, 1, 1, 2]] * 3)
EDGES = dict(growth_edge=2.0, divergence_edge=4.0)


def runs(lrs=(0.75, 1.5, 2.05), n_steps=25):
    return sdt.simulate(OutputCurvatureMap(width=100, lr=1.0), [1.0, 2.0], n_steps=n_steps, save_every=1,
                        observe=["scaled_curvature", "loss"], sweep={"lr": list(lrs)})


def test_only_cells_on_the_wrong_side_of_an_edge_are_misclassified():
    assert not plot.misclassified(RIGHT, X, 2.0, 4.0).any()
    wrong = RIGHT.copy()
    wrong[1, 0], wrong[2, 4] = 1, 0
    np.testing.assert_array_equal(np.argwhere(plot.misclassified(wrong, X, 2.0, 4.0)), [[1, 0], [2, 4]])
    np.testing.assert_array_equal(plot.misclassified(RIGHT, X, [2.0, 3.0, 2.0], 4.0).sum(axis=1), [0, 1, 0])


def test_the_map_draws_both_edges_row_by_row_and_says_the_count():
    growth = np.array([2.2, 2.1, 3.0])
    ax = plot.phase_map(RIGHT, X, WIDTHS, growth_edge=growth, divergence_edge=4.0, yscale="log")
    places = [line.get_xdata() for line in ax.lines]
    np.testing.assert_array_equal(places[0], growth)
    np.testing.assert_array_equal(places[1], [4.0] * 3)
    assert "misclassified: 1 of 15" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(ax.lines[2].get_xdata()) == 1


@pytest.mark.parametrize(("change", "message"), [
    (dict(y=[0.0, 1.0, 2.0], yscale="log"), "y: expected numbers > 0 on a log axis, got 0"),
    (dict(x=X[::-1]), "x: expected two or more increasing centres"),
    (dict(phases=RIGHT[:2]), r"phases: expected shape \(y.size, x.size\) = \(3, 5\)"),
    (dict(growth_edge=None), "expected both or neither"),
    (dict(growth_edge=[1.0, 2.0]), "growth_edge: expected one number, or one for each of 3 rows"),
    (dict(phases=RIGHT - 1), "phases: expected Phase values"),
    (dict(xscale="sqrt"), "xscale: expected 'linear' or 'log'"),
])
def test_a_map_that_can_not_be_drawn_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot.phase_map(**{"phases": RIGHT, "x": X, "y": WIDTHS} | EDGES | change)


def test_orbits_show_a_divergent_run_without_losing_the_others():
    ax = Figure().add_subplot()
    assert plot.orbits(runs(), ax=ax) is ax
    assert ax.get_yscale() == "log" and ax.get_xlim()[1] <= 5.1
    starts = sorted(float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1)
    assert starts == pytest.approx([1.5, 3.0, 4.1])


def test_curvature_before_and_after_has_a_dot_a_run_and_counts_those_without_an_end():
    data = runs(n_steps=400)
    ax = plot.curvature_change(data)
    ends = np.isfinite(data.scaled_curvature.values[..., -1]).ravel()
    before, after = (data.scaled_curvature.values[..., i].ravel()[ends] for i in (0, -1))
    dots = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_array_equal(dots[np.argsort(dots[:, 0])], np.stack([before, after], axis=1)[np.argsort(before)])
    assert "diverged: 1 of 3" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert np.all(after[before > 2] < 2) and before.max() > 2


@pytest.mark.parametrize(("ending", "begins"), [(".gif", b"GIF89a"), (".html", b"\n<link")])
def test_a_film_is_one_file_with_every_step(tmp_path, ending, begins):
    film = plot.catapult_film(runs(n_steps=3), tmp_path / f"film{ending}")
    content = film.read_bytes()
    assert content.startswith(begins)
    if ending == ".gif":
        from PIL import Image
        with Image.open(film) as image:
            assert image.n_frames == 4
    else:
        assert content.count(b"data:image/png;base64") == 4


@pytest.mark.parametrize(("call", "message"), [
    (lambda: plot.catapult_film(runs(n_steps=2), "film.avi"), r"path: expected a name that ends in .gif or .html"),
    (lambda: plot.curvature_change(runs(n_steps=2)[["loss"]]), "expected 'scaled_curvature' at step 0 and at the end, got loss"),
    (lambda: plot.curvature_change(runs(n_steps=2).isel(step=[1, 2])), r"got .* at steps \[1, 2\]"),
    (lambda: plot.curvature_change(runs(lrs=[5.0], n_steps=60)), "expected runs that end, got 1 that all diverged"),
    (lambda: plot.orbits(runs(n_steps=2)[["loss"]]), "expected 'scaled_curvature' and 'loss' along 'step'"),
    (lambda: plot.orbits(runs(lrs=[5.0], n_steps=2)), r"expected runs with a finite loss > 0 where lr \* curvature < 5"),
])
def test_data_that_show_no_orbit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
