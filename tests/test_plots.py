from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import pulses
from matplotlib.colors import to_hex

from mer_lib import plots
from mer_lib.corpora.base import EMOTIONS
from mer_lib.features import FRAME_SECONDS


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    """Draw in the book's style, and leave neither open figures nor settings behind."""
    with plt.rc_context():
        plots.use_style()
        yield
        plt.close("all")


def drawn(figure: plt.Figure) -> plt.Figure:
    """Render the figure, so that warnings of the layout and of missing glyphs come out."""
    figure.canvas.draw()
    return figure


def titles(figure: plt.Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def table(**means: float) -> pd.DataFrame:
    rows = {name: {("ua", "mean"): v, ("ua", "low"): v - 3, ("ua", "high"): v + 2} for name, v in means.items()}
    found = pd.DataFrame.from_dict(rows, orient="index")
    found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def test_a_sound_is_drawn_three_times_on_one_axis_of_seconds() -> None:
    wave = pulses(200, 1.0)
    figure = drawn(plots.sound(wave, 16_000, "A steady voice"))
    top, middle, bottom = figure.axes
    assert titles(figure) == ["A steady voice"]
    assert top.get_shared_x_axes().joined(top, bottom)
    assert bottom.get_xlabel() == "seconds"
    x, y = top.lines[0].get_data()
    assert x[-1] == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(y, wave)
    assert middle.collections[0].get_array().size == 32 * len(bottom.lines[0].get_xdata())
    assert np.nanmedian(bottom.lines[0].get_ydata()) == pytest.approx(12, abs=0.5)


def test_clauses_are_written_in_order_along_the_time_axis() -> None:
    figure = drawn(plots.sound(pulses(200, 1.0), 16_000, "Two clauses", clauses=["well done", "you broke it again"]))
    texts = figure.axes[0].texts
    assert [t.get_text() for t in texts] == ["well done", "you broke it again"]
    starts = [t.get_position()[0] for t in texts]
    assert 0 < starts[0] < starts[1] < 1


@pytest.mark.parametrize("wave", [np.zeros(16_000, np.float32), pulses(200, 0.05)], ids=["silence", "one frame"])
def test_a_sound_without_voice_or_of_one_frame_can_be_drawn(wave: np.ndarray) -> None:
    assert len(drawn(plots.sound(wave, 16_000, "Little to see")).axes) == 3


def test_a_confusion_matrix_shows_percent_with_the_truth_in_rows() -> None:
    matrix = np.array([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0.4, 0.6]])
    ax = plots.confusion(matrix, "Sad is never missed")
    drawn(ax.figure)
    assert [t.get_text() for t in ax.texts] == [f"{100 * value:.0f}" for value in matrix.ravel()]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(EMOTIONS)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(EMOTIONS)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("decided", "true")


def test_intervals_mark_mean_ends_and_ceiling_of_each_variant() -> None:
    ax = plots.intervals(table(A=60.0, T=75.0), {"A": 66.0}, "Text tells more")
    drawn(ax.figure)
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines]
    assert ([57, 62], [0, 0]) in lines
    assert ([72, 77], [1, 1]) in lines
    assert ([60], [0]) in lines
    ceilings = [x for x, y in lines if len(y) == 2 and y[0] != y[1]]
    assert ceilings == [[66, 66]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "T"]
    assert [t.get_text() for t in ax.texts] == ["60.0", "75.0"]
    assert ax.get_xlabel() == "UA (%)"


def test_the_first_variant_stands_on_top() -> None:
    ax = plots.intervals(table(A=60.0, T=75.0), {}, "Order")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_an_interval_that_is_not_known_is_left_out_and_not_warned_about() -> None:
    one = table(A=60.0)
    one[("ua", "low")] = one[("ua", "high")] = np.nan
    ax = plots.intervals(one, {}, "One fold")
    drawn(ax.figure)
    assert [t.get_text() for t in ax.texts] == ["60.0"]


def test_a_history_shows_the_losses_that_were_asked_for_and_the_dev_score() -> None:
    rows = [{"epoch": e, "task": 1.0 / e, "unimodal": 0.5 / e, "dev_ua": 40.0 + e} for e in (1, 2, 3)]
    ax = plots.history(rows, "It learns", losses=("task", "unimodal"))
    drawn(ax.figure)
    left, right = ax.figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [[1, 1 / 2, 1 / 3], [0.5, 0.25, 0.5 / 3]]
    assert list(right.lines[0].get_ydata()) == [41, 42, 43]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["task loss", "unimodal loss", "dev UA (%)"]


def test_attention_has_a_row_per_word_and_seconds_below() -> None:
    weights = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    ax = plots.attention(weights, ["not", "bad"], "It listens where it reads")
    drawn(ax.figure)
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()).reshape(2, 3), weights)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["not", "bad"]
    assert ax.get_xlim()[1] == pytest.approx(3 * FRAME_SECONDS)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.confusion(np.eye(4), "x", ax),
        lambda ax: plots.intervals(table(A=60.0), {}, "x", ax=ax),
        lambda ax: plots.history([{"epoch": 1, "task": 1.0, "dev_ua": 40.0}], "x", ax=ax),
        lambda ax: plots.attention(np.eye(2), ["a", "b"], "x", ax),
    ],
    ids=["confusion", "intervals", "history", "attention"],
)
def test_a_plot_draws_where_it_is_told_and_opens_nothing_else(draw) -> None:
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1
    drawn(ax.figure)


def test_every_emotion_and_modality_has_a_colour_of_its_own() -> None:
    assert {*EMOTIONS, "audio", "text", "both"} <= set(plots.COLOURS)
    assert len({to_hex(colour) for colour in plots.COLOURS.values()}) == len(plots.COLOURS)


def test_figures_keep_a_white_ground() -> None:
    figure = plots.sound(pulses(200, 0.5), 16_000, "White")
    assert to_hex(figure.get_facecolor()) == "#ffffff"
