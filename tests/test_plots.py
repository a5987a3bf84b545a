from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import pulses
from matplotlib.colors import to_hex
from matplotlib.text import Text

from mer_lib import plots
from mer_lib.corpora.base import EMOTIONS
from mer_lib.features import STEP_SECONDS
from mer_lib.model import MethodConfig


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
    assert bottom.lines[0].get_xdata()[:2] == pytest.approx([0.05, 0.15]), "a frame stands at its middle"


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
    assert ax.get_xlim()[1] == pytest.approx(3 * STEP_SECONDS)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.confusion(np.eye(4), "x", ax),
        lambda ax: plots.intervals(table(A=60.0), {}, "x", ax=ax),
        lambda ax: plots.history([{"epoch": 1, "task": 1.0, "dev_ua": 40.0}], "x", ax=ax),
        lambda ax: plots.attention(np.eye(2), ["a", "b"], "x", ax),
        lambda ax: plots.curves(pd.DataFrame({"a": [1, 2]}), "x", "y", ax=ax),
        lambda ax: plots.runs(pd.DataFrame({"fold": [1, 2], "ua": [50.0, 60]}), "x", ax=ax),
    ],
    ids=["confusion", "intervals", "history", "attention", "curves", "runs"],
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


def test_curves_are_named_told_apart_and_compared_with_a_level() -> None:
    found = pd.DataFrame({"naive": [95.0, 60], "averaged": [95.0, 94]}, index=pd.Index([1, 20], name="seeds"))
    ax = plots.curves(found, "Naive intervals miss", "coverage (%)", level=95)
    drawn(ax.figure)
    level, naive, averaged = ax.lines
    assert list(level.get_ydata()) == [95, 95]
    assert (list(naive.get_xdata()), list(naive.get_ydata())) == ([1, 20], [95, 60])
    assert {naive.get_marker(), naive.get_linestyle()}.isdisjoint({averaged.get_marker(), averaged.get_linestyle()})
    assert naive.get_color() != averaged.get_color()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["naive", "averaged"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("seeds", "coverage (%)")


def test_every_run_is_a_dot_at_its_fold_and_every_fold_has_its_mean() -> None:
    ax = plots.runs(pd.DataFrame({"fold": [1, 1, 2], "seed": [0, 1, 0], "ua": [60.0, 64, 70]}), "Folds differ")
    drawn(ax.figure)
    dots, bars = ax.lines[::2], ax.lines[1::2]
    assert [list(line.get_ydata()) for line in dots] == [[60, 64], [70]]
    assert all(abs(line.get_xdata() - fold).max() < 0.2 for fold, line in zip((1, 2), dots, strict=True))
    assert [list(line.get_ydata()) for line in bars] == [[62, 62], [70, 70]]
    assert ax.get_ylabel() == "UA (%)"


def test_dialogues_show_a_letter_per_turn_in_the_order_of_the_turns() -> None:
    turns = pd.DataFrame({
        "dialogue": ["a", "a", "a", "b", "c"], "turn": [2, 0, 1, 0, 0],
        "emotion": ["angry", "happy", "sad", "neutral", "happy"],
    })  # fmt: skip
    ax = plots.dialogues(turns, "Runs", most=2)
    drawn(ax.figure)
    assert [t.get_text() for t in ax.texts] == ["H", "S", "A", "N"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert to_hex(ax.patches[0].get_facecolor()) == to_hex(plots.COLOURS["happy"])


def test_a_spread_has_a_panel_per_column_and_a_row_per_style_in_the_usual_order() -> None:
    measures = {"x": np.tile(np.arange(11.0), 3), "y": np.zeros(33)}
    styled = pd.DataFrame({**measures, "style": ["deadpan", "angry", "happy"] * 11})
    figure = plots.spread(styled, "style", ["x", "y"], "Profiles")
    drawn(figure)
    assert [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "|"] == [5, 5, 5]
    assert [ax.get_xlabel() for ax in figure.axes] == ["x", "y"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["happy", "angry", "deadpan"]


def test_spectra_are_drawn_in_decibels_against_their_mean() -> None:
    log_power = pd.DataFrame([[0.0, 0.0], [np.log(10), 0.0]], index=["S1F", "S1M"])
    ax = plots.spectra(log_power, "Colour")
    drawn(ax.figure)
    np.testing.assert_allclose(np.asarray(ax.collections[0].get_array()).reshape(2, 2), [[-5, 0], [5, 0]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["S1F", "S1M"]


def test_the_emotion_map_joins_what_each_channel_confuses_by_lines_of_its_own() -> None:
    ax = plots.emotion_map({"happy": "angry", "angry": "happy"}, {"sad": "angry", "angry": "sad"}, "Two kinds")
    drawn(ax.figure)
    voice, words = (line for line in ax.lines if len(line.get_xdata()) == 2)
    assert sorted(zip(*voice.get_data(), strict=True)) == [(-1, 1), (1, 1)], "angry and happy: equally excited"
    assert sorted(zip(*words.get_data(), strict=True)) == [(-1, -1), (-1, 1)], "angry and sad: equally unpleasant"
    assert voice.get_linestyle() != words.get_linestyle()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["alike in the voice", "alike in the words"]
    assert sorted(t.get_text() for t in ax.texts) == sorted(EMOTIONS)


def test_a_ladder_has_a_panel_per_corpus_and_a_named_dot_per_system() -> None:
    found = pd.DataFrame({"duet-i": [60.0, 80], "duet-x": [43.0, np.nan]}, index=["voice alone", "both"])
    figure = drawn(plots.ladder(found, "Fusing pays", chance=25))
    assert [ax.get_title() for ax in figure.axes] == ["", ""]
    assert titles(figure) == ["duet-i", "duet-x"]
    dots = [next(line for line in ax.lines if line.get_marker() == "D") for ax in figure.axes]
    np.testing.assert_array_equal([line.get_xdata() for line in dots], [[60, 80], [43, np.nan]])
    assert [[t.get_text() for t in ax.texts] for ax in figure.axes] == [["60.0", "80.0"], ["43.0"]]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["voice alone", "both"]


def test_the_method_is_drawn_with_the_switch_of_each_part() -> None:
    figure = drawn(plots.method())
    shown = {text.get_text() for text in figure.axes[0].texts}
    switches = {"modalities", "encoder", "alpha", "beta", "attention, alignment"}
    assert switches <= shown
    assert {name for switch in switches for name in switch.split(", ")} <= {f.name for f in fields(MethodConfig)}


def test_each_kind_stands_at_its_height_with_its_interval_and_its_ceilings() -> None:
    ends = {"right": [90.0, 40.0], "low": [85.0, 30.0], "high": [94.0, 50.0]}
    measured = pd.DataFrame(ends, index=["plain", "irony"])
    limits = pd.DataFrame({"text": [1.0, 95.0], "both": [95.0, 96.0]}, index=["irony", "plain"])
    ax = plots.by_kind(measured, limits, "Irony needs both")
    drawn(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["plain", "irony"]
    assert ax.lines[0].get_xdata().tolist() == [90, 40]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[95, 0], [1, 1]])
    assert [list(segment[:, 0]) for segment in ax.collections[2].get_segments()] == [[85, 94], [30, 50]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["text ceiling", "both ceiling", "measured"]


def test_stress_shows_the_mean_loudness_of_each_clause_and_sets_the_stressed_one_in_bold() -> None:
    wave = np.concatenate([np.full(8000, 0.01), np.full(8000, 0.1)])
    figure = drawn(plots.stress([wave, wave[::-1]], 16_000, [["ab", "cd"]] * 2, [1, 0], "Louder"))
    assert titles(figure) == ["Louder"]
    for ax, means, bold in zip(figure.axes, ([-40, -20], [-20, -40]), (1, 0), strict=True):
        lines = [c.get_segments()[0] for c in ax.collections if hasattr(c, "get_segments")]
        np.testing.assert_allclose([line[0, 1] for line in lines], means, atol=0.1)
        assert [line[:, 0].tolist() for line in lines] == [[0, 0.5], [0.5, 1]]
        assert [t.get_text() for t in ax.texts] == ["ab", "cd"]
        assert [t.get_fontweight() == "bold" for t in ax.texts] == [i == bold for i in range(2)]
    assert figure.axes[-1].get_xlabel() == "seconds"


def test_tables_side_by_side_share_an_axis_and_one_legend() -> None:
    steps = pd.Index([0, 1], name="steps")
    ends = {"a": 5.0, "b": 2.0}
    found = {name: pd.DataFrame({"alone": [0.0, 1], "joint": [0.0, end]}, steps) for name, end in ends.items()}
    figure = drawn(plots.side_by_side(found, "One starves", "weight", {"b": 1.5}))
    left, right = figure.axes
    assert left.get_shared_y_axes().joined(left, right)
    assert titles(figure) == ["a", "b"]
    assert (left.get_ylabel(), right.get_ylabel(), right.get_xlabel()) == ("weight", "", "steps")
    assert [list(line.get_ydata()) for line in left.lines] == [[0, 1], [0, 5]]
    assert [list(line.get_ydata()) for line in right.lines] == [[1.5, 1.5], [0, 1], [0, 2]], "the level comes first"
    assert left.get_legend() is right.get_legend() is None
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["alone", "joint"]
    left, right = drawn(plots.side_by_side(found, "One starves", "weight", sharey=False)).axes
    assert left.get_ylim()[1] > right.get_ylim()[1]


def test_filters_are_drawn_one_line_each_with_every_fourth_in_bold() -> None:
    ax = plots.filters(np.arange(8.0), np.eye(5, 8), "Bands")
    drawn(ax.figure)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], np.eye(5, 8))
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths[0] == widths[4] > widths[1] == widths[2] == widths[3]


def test_profiles_are_centred_on_zero_and_keep_the_order_of_the_styles() -> None:
    ax = plots.profiles(pd.DataFrame({"pitch": [0.5, -0.25], "tempo": [0.0, 1.0]}, index=["happy", "sad"]), "Styles")
    drawn(ax.figure)
    assert [t.get_text() for t in ax.texts] == ["+0.5", "+0.0", "-0.2", "+1.0"]
    assert ax.collections[0].get_clim() == (-1, 1)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["happy", "sad"]


def test_reach_has_a_panel_per_layer_and_a_line_before_the_padding() -> None:
    seen = {"one": np.eye(3, 5, dtype=bool), "all": np.ones((3, 5), dtype=bool)}
    figure = drawn(plots.reach(seen, "Neighbours"))
    for ax, (name, matrix) in zip(figure.axes, seen.items(), strict=True):
        assert ax.get_title(loc="left") == name
        np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()).reshape(3, 5), matrix)
        assert list(ax.lines[0].get_xdata()) == [3, 3]
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first step stands on top"


def test_tracks_of_pitch_share_an_axis_with_a_line_per_octave() -> None:
    table = pd.DataFrame({"one": [1.0, np.nan, 13], "other": [1.0, 1, 1]}, index=[0.0, 0.01, 0.02])
    ax = plots.tracks(table, "Jumps")
    drawn(ax.figure)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "other"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, 13])
    assert set(np.diff(ax.get_yticks())) == {12}
    assert {0, 12} <= set(ax.get_yticks())


def test_grids_write_every_number_and_share_one_scale() -> None:
    small = pd.DataFrame([[0.25, 0.75]], index=["word"], columns=["soft", "loud"])
    figure = drawn(plots.grids({"one": small, "two": 2 * small}, "Weights", "asks", "looked at"))
    assert [[t.get_text() for t in ax.texts] for ax in figure.axes] == [["0.25", "0.75"], ["0.50", "1.50"]]
    assert [ax.get_xlabel() for ax in figure.axes] == ["looked at"] * 2
    assert [ax.get_ylabel() for ax in figure.axes] == ["asks", ""]
    assert {ax.collections[0].get_clim() for ax in figure.axes} == {(0, 1.5)}


def test_listening_lays_its_maps_under_the_loudness_and_marks_the_stressed_part() -> None:
    wave = np.concatenate([np.full(8000, 0.01), np.full(8000, 0.1)])
    weights = np.array([[0.9, 0.1], [0.2, 0.8]])
    maps = {"the prior alone": np.full((2, 2), 0.5), "attention": weights}
    words, bold = ["well", "done"], np.array([False, True])
    figure = drawn(plots.listening(wave, 16_000, maps, words, bold, (0.5, 1.0), "Later, louder"))
    top, prior, learned = figure.axes
    assert titles(figure)[0] == "Later, louder"
    assert [ax.get_title(loc="left") for ax in (prior, learned)] == list(maps)
    np.testing.assert_array_equal(np.asarray(learned.collections[0].get_array()).reshape(2, 2), weights)
    assert prior.collections[0].get_clim() == learned.collections[0].get_clim() == (0, 0.9)
    assert [t.get_fontweight() for t in learned.get_yticklabels()] == ["normal", "bold"]
    assert [line.get_xdata()[0] for line in learned.lines] == [0.5, 1.0], "one second of sound"
    assert top.get_shared_x_axes().joined(top, learned)


def test_planes_shade_what_is_said_and_ring_what_is_not_right() -> None:
    cells = pd.DataFrame({"a": [1, 1, -1, -1], "t": [1, -1, 1, -1], "emotion": ["happy", "angry", "angry", "happy"]})
    scores = {"nothing": lambda a, t: 0 * a, "a sum": lambda a, t: a + t - 1, "a product": lambda a, t: a * t}
    figure = drawn(plots.planes(scores, cells, "Only a product"))
    said = [set(np.unique(ax.collections[0].get_array())) for ax in figure.axes]
    assert [s <= {-1, 0, 1} for s in said] == [True] * 3
    assert said[0] == {0}
    assert [len(ax.collections[1].get_offsets()) for ax in figure.axes] == [4, 1, 0]
    np.testing.assert_array_equal(figure.axes[1].collections[1].get_offsets(), [[-1, -1]])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["not right", "means happy", "means angry"]
    assert titles(figure) == list(scores)


def test_bits_lie_side_by_side_and_add_up() -> None:
    columns = ["redundant", "unique A", "unique T", "synergy"]
    parts = pd.DataFrame([[0.5, 0.25, 0.0, 0.25], [0, 0, 0, 1.0]], index=["one", "two"], columns=columns)
    ax = plots.bits(parts, "Divided")
    drawn(ax.figure)
    widths = np.array([[bar.get_width() for bar in bars] for bars in ax.containers]).T
    np.testing.assert_array_equal(widths, parts)
    ends = [max(bar.get_x() + bar.get_width() for bar in row) for row in zip(*ax.containers, strict=True)]
    assert ends == [1, 1]
    assert [t.get_text() for t in ax.texts] == ["0.50", "0.25", "0.25", "1.00"]
    assert len({bars[0].get_hatch() for bars in ax.containers}) == 4
    assert [t.get_text() for t in ax.get_legend().get_texts()] == columns


def test_clouds_share_one_scale_and_bear_a_letter_at_the_mean_of_each_emotion_and_modality() -> None:
    cloud = np.arange(12.0).reshape(6, 2)
    points = {"before": {"audio": cloud, "text": -cloud}, "after": {"audio": cloud, "text": cloud + 1}}
    figure = drawn(plots.clouds(points, np.array([0, 0, 1, 1, 3, 3]), "They meet"))
    before, after = figure.axes
    assert before.get_shared_x_axes().joined(before, after)
    assert [t.get_text() for t in before.texts] == ["H", "S", "A"] * 2
    assert before.texts[0].get_position() == (1, 2)
    np.testing.assert_array_equal(after.collections[1].get_offsets(), cloud + 1)
    assert len({str(c.get_paths()[0].vertices.shape) for c in before.collections}) == 2, "markers differ too"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["audio", "text"]


def test_words_that_share_a_point_share_a_label() -> None:
    points = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    ax = plots.word_map(points, ["laughed", "wept", "danced"], ["happy", "sad", "happy"], "Company")
    drawn(ax.figure)
    assert [t.get_text() for t in ax.texts] == ["laughed, danced", "wept"]
    assert [to_hex(line.get_color()) for line in ax.lines] == [to_hex(plots.COLOURS[e]) for e in ("happy", "sad")]


def test_similarity_draws_every_cosine_and_a_line_between_groups() -> None:
    cosines = np.array([[1, 0.9, 0.2], [0.9, 1, 0.1], [0.2, 0.1, 1]])
    ax = plots.similarity(cosines, ["glad", "happy", "sad"], [2, 1], "Blocks")
    drawn(ax.figure)
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()).reshape(3, 3), cosines)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["glad", "happy", "sad"]
    assert all(set(line.get_xdata()) | set(line.get_ydata()) >= {2} for line in ax.lines)


def test_words_stand_over_their_stretch_of_the_sound() -> None:
    spans = np.array([[0.0, 0.25], [0.5, 1.0]])
    ax = plots.words_in_time(pulses(200, 2.0), 16_000, ["well", "done"], spans, "Letters tell time")
    drawn(ax.figure)
    assert [(t.get_text(), t.get_position()[0]) for t in ax.texts] == [("well", 0.25), ("done", 1.5)]
    edges = [tuple(patch.get_extents().transformed(ax.transData.inverted()).intervalx) for patch in ax.patches]
    np.testing.assert_allclose(edges, [(0, 0.5), (1, 2)])


def test_confusions_write_the_difference_and_frame_what_its_interval_keeps_off_zero() -> None:
    found, best, half = np.eye(4), np.full((4, 4), 0.25), np.full((4, 4), 0.5)
    half[0, 1] = 0.2
    half[3, 3] = np.nan
    figure = drawn(plots.confusions({"measured": found, "ceiling": best}, "Apart", found - best, half, "minus"))
    measured, ceiling, apart = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["measured", "ceiling", "minus"]
    assert [t.get_text() for t in ceiling.texts] == ["25"] * 16
    assert [t.get_text() for t in apart.texts][:2] == ["+75\n±50", "-25\n±20"]
    assert apart.texts[-1].get_text() == "+75"
    corners = [(patch.get_x(), patch.get_y()) for patch in apart.patches]
    np.testing.assert_allclose(corners, [(c + 0.06, r + 0.06) for r, c in [(0, 0), (0, 1), (1, 1), (2, 2)]])
    assert {to_hex(patch.get_edgecolor()) for patch in apart.patches} == {"#000000"}
    assert (measured.get_ylabel(), ceiling.get_ylabel(), apart.get_xlabel()) == ("true", "", "decided")
    assert [t.get_text() for t in measured.get_yticklabels()] == list(EMOTIONS)


def test_confusions_without_a_difference_have_a_panel_per_matrix() -> None:
    assert len(drawn(plots.confusions({"one": np.eye(4), "two": np.eye(4)}, "Alike")).axes) == 2


def test_maps_tell_groups_by_marker_and_by_colour_and_have_no_scales() -> None:
    places = {"one": np.arange(8.0).reshape(4, 2), "two": np.zeros((3, 2))}
    groups = {"one": np.array(["happy", "sad", "happy", "text"]), "two": np.array(["tight", "wide", "wide"])}
    figure = drawn(plots.maps(places, groups, "Five looks", {"one": "probe 50%"}))
    one, two = figure.axes
    np.testing.assert_array_equal(one.collections[0].get_offsets(), places["one"][[0, 2]])
    marks = [c for ax in figure.axes for c in ax.collections]
    assert len({c.get_paths()[0].vertices.tobytes() for c in marks}) == 5, "markers alone tell them apart"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["happy", "sad", "text", "tight", "wide"]
    assert one.get_xlabel() == "probe 50%"
    assert (len(one.get_xticks()), len(two.get_yticks())) == (0, 0)


def test_a_map_without_groups_has_dots_and_no_legend() -> None:
    figure = drawn(plots.maps({"one": np.zeros((2, 2))}, {"one": np.array(["", ""])}, "Nobody"))
    assert not figure.legends


def test_trends_are_thin_for_each_run_and_thick_for_the_median_while_no_run_has_ended() -> None:
    values = {("with", 0): [3.0, 1.0], ("with", 1): [5.0, 3.0, 0.5], ("without", 0): [4.0, 4.0, 4.0]}
    found = pd.DataFrame(
        [(g, r, e, v) for (g, r), line in values.items() for e, v in enumerate(line, start=1)],
        columns=["group", "run", "epoch", "value"],
    )
    found = pd.concat([found.assign(row=row, column="duet-i") for row in ("similarity", "difference")])
    figure = drawn(plots.trends(found, "They fall"))
    top, bottom = figure.axes
    thick = [line for line in top.lines if line.get_linewidth() == 3]
    assert [list(line.get_ydata()) for line in thick] == [[4, 2], [4, 4, 4]]
    thin = [line for line in top.lines if line.get_linewidth() < 1]
    np.testing.assert_array_equal([line.get_ydata() for line in thin[:2]], [[3, 1, np.nan], [5, 3, 0.5]])
    assert len({line.get_linestyle() for line in thick}) == 2
    assert top.get_ylim()[0] <= 0, "a curve above a cut axis looks steeper than it is"
    assert [ax.get_ylabel() for ax in (top, bottom)] == ["similarity", "difference"]
    assert (top.get_xlabel(), bottom.get_xlabel()) == ("", "epoch")
    assert titles(figure) == ["duet-i"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["with", "without"]
    medians = drawn(plots.trends(found, "They fall", each_run=False)).axes[0]
    assert [line.get_linewidth() for line in medians.lines] == [1, 3, 3], "the line at 0, and one for each group"


def test_a_cube_has_a_score_or_a_question_mark_at_each_corner_and_a_gain_on_each_known_edge() -> None:
    ladder = {(False, False, False): 60.0, (False, False, True): 66.0, (False, True, True): 65.0}
    ax = plots.cube(ladder | {(True, True, True): 72.0}, ("attention", "L_sp", "L_ua"), "Four of eight")
    drawn(ax.figure)
    texts = [t.get_text() for t in ax.texts]
    assert texts.count("?") == 4
    assert {"60.0", "66.0", "65.0", "72.0"} <= set(texts)
    assert [t for t in texts if t[0] in "+-"] == ["+6.0", "-1.0", "+7.0"]
    assert {"none", "L_ua", "attention + L_sp + L_ua"} <= set(texts)
    assert len(ax.lines) == 12
    whole = plots.cube(dict.fromkeys(np.ndindex(2, 2, 2), 1.0), ("a", "b", "c"), "All")
    assert [t.get_text() for t in whole.texts].count("+0.0") == 12


def test_differences_stand_around_zero_in_front_of_what_was_predicted() -> None:
    rows = {"difference": [3.0, -0.5], "low": [1.0, -1.5], "high": [5.0, 0.5]}
    table = pd.DataFrame(rows, index=["focus", "irony"])
    ax = plots.differences(table.assign(predicted=[1, 0]), "As predicted", margin=2)
    drawn(ax.figure)
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches] == [(0, 5.5), (-2, 2)]
    assert ax.get_xlim() == (-5.5, 5.5)
    assert ax.get_xlabel() == "points; grey: predicted"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["focus", "irony"]
    assert [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()] == [[1, 5], [-1.5, 0.5]]
    assert not plots.differences(table, "Nothing was predicted").patches


def test_a_difference_that_does_not_survive_the_correction_has_an_open_mark() -> None:
    rows = {"difference": [3.0, 0.5], "low": [1.0, 0.1], "high": [5.0, 0.9], "p_holm": [0.01, 0.2]}
    table = pd.DataFrame(rows, index=["focus", "irony"])
    ax = plots.differences(table, "One holds")
    assert ax.get_xlabel() == "points\nfilled: told from 0, corrected for many tests"
    closed, opened = ax.collections[1].get_facecolors()
    assert opened.tolist() == [1, 1, 1, 1]
    assert closed.tolist() != opened.tolist()
    assert len(plots.differences(table.drop(columns="p_holm"), "No tests").collections[1].get_facecolors()) == 2


def test_hidden_states_are_drawn_around_their_means_over_the_seconds_of_the_sound() -> None:
    ax = plots.states(np.array([[1.0, 5.0], [3.0, 5.0]]), 0.5, "What it says")
    drawn(ax.figure)
    (image,) = ax.images
    assert np.asarray(image.get_array()).tolist() == [[-1, 1], [0, 0]]
    assert ax.get_xlim() == (0, 0.5)


def test_attainable_sizes_stand_in_a_panel_per_class_with_a_line_per_row_and_a_mark() -> None:
    n = pd.Index(range(1, 22), name="n")
    sevenths = pd.DataFrame({"ours": n % 7 == 0, "theirs": n % 3 == 0}, index=n)
    figure = drawn(plots.attainable({"happy": sevenths, "calm": sevenths}, {"happy": 21}, "They meet at 21"))
    happy, calm = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == ["happy", "calm"]
    assert [t.get_text() for t in happy.get_yticklabels()] == ["ours", "theirs"]
    ticks = [[segment[0][0] for segment in c.get_segments()] for c in happy.collections]
    assert ticks == [[7, 14, 21], [3, 6, 9, 12, 15, 18, 21]]
    assert happy.lines[0].get_xdata() == [21, 21]
    assert [t.get_text() for t in happy.texts] == ["21"]
    assert not calm.lines


def test_gaps_have_an_interval_per_overlap_and_leave_out_what_is_not_known() -> None:
    known = {"gap": 2.0, "best_low": 1.5, "best_high": 2.5, "unpaired_low": 0.0, "unpaired_high": 4.0}
    rows = {"ours, theirs": {**known, "worst_low": -1.0, "worst_high": 5.0}, "another paper": dict(known)}
    table = pd.DataFrame(rows).T
    table.loc["another paper", ["best_low", "best_high"]] = np.nan
    ax = plots.gaps(table, "Two points are not always two points")
    drawn(ax.figure)
    spans = [[tuple(s[:, 0]) for s in c.get_segments() if s.size] for c in ax.collections]
    assert spans == [[(-1, 5)], [(0, 4), (0, 4)], [(1.5, 2.5)]]
    assert ax.lines[0].get_xdata().tolist() == [2, 2]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ours, theirs", "another paper"]
    assert len(ax.figure.legends[0].get_texts()) == 4


def test_strained_systems_stand_beside_each_other_in_front_of_the_best_possible() -> None:
    rows = [
        (panel, condition, system, value, value - 2, value + 1)
        for panel, conditions in {"noise": ("none", "10 dB"), "words": ("right", "wrong", "gone")}.items()
        for condition in conditions
        for system, value in (("ours", 70.0), ("theirs", 60.0))
    ]
    table = pd.DataFrame(rows, columns=["panel", "condition", "system", "value", "low", "high"])
    best = pd.DataFrame({"panel": "noise", "condition": ["none", "10 dB"], "low": [85, 75], "high": [85, 85]})
    figure = drawn(plots.strained(table, "Noise hurts", best=best))
    noise, words = figure.axes
    assert [t.get_text() for t in words.get_xticklabels()] == ["right", "wrong", "gone"]
    blocks = [patch for patch in noise.patches if patch.get_width() == pytest.approx(0.9)]
    assert [(b.get_x(), b.get_y(), b.get_height()) for b in blocks] == [(pytest.approx(0.55), 75, 10)]
    assert [s.tolist() for s in noise.collections[0].get_segments()] == [[[-0.45, 85], [0.45, 85]]]
    assert not words.patches
    ours, theirs = (container.lines[0] for container in noise.containers if container.get_label() in ("ours", "theirs"))
    assert ours.get_ydata().tolist() == [70, 70]
    assert (ours.get_xdata() < theirs.get_xdata()).all()
    assert ours.get_linestyle() == "-"
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["ceiling", "the ceiling lies in here", "ours", "theirs"]
    named = plots.strained(table, "Kinds", best=best, line="the best rule")
    assert named.legends[0].get_texts()[0].get_text() == "the best rule"
    apart = plots.strained(table, "Kinds, not steps", joined=False).axes[0]
    assert {container.lines[0].get_linestyle() for container in apart.containers} == {"None"}


def test_reliability_draws_a_larger_dot_where_there_are_more_answers() -> None:
    table = pd.DataFrame({"answers": [10, 30], "confidence": [0.4, 0.9], "right": [0.5, 0.8]})
    figure = drawn(plots.reliability({"ours": table.assign(low=0.3, high=0.9)}, "Too sure"))
    ax = figure.axes[0]
    assert ax.collections[1].get_offsets().tolist() == [[0.4, 0.5], [0.9, 0.8]]
    assert ax.collections[1].get_sizes().tolist() == [72, 192]
    assert [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()] == [[0.3, 0.9]] * 2


def test_the_zoo_has_every_name_once_in_its_own_cell() -> None:
    places = {
        "early": ("steps", "one"),
        "gated": ("vectors", "one"),
        "LMF": ("vectors", "one"),
        "DANN": ("steps", "all"),
    }
    table = pd.DataFrame.from_dict(places, orient="index", columns=["column", "row"])
    figure = drawn(plots.zoo(table, "Two fuse vectors", ["steps", "vectors", "answers"], ["one", "all"]))
    one, everything = figure.axes
    found = {t.get_text(): t.get_position() for t in one.texts}
    assert found["early"] == (0.5, 0.5)
    assert [found["gated"], found["LMF"]] == [(1.5, 0.5), (1.5, 1.5)]
    assert {"steps", "vectors", "answers"} <= set(found)
    assert [t.get_text() for t in everything.texts] == ["DANN"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["one", "all"]


def test_accuracy_against_cost_shows_who_is_beaten_by_nobody_cheaper_and_names_do_not_meet() -> None:
    rows = {"seconds": [2.0, 30, 10, 11], "ua": [60.0, 70, 65, 64.9], "context": [False, True, False, False]}
    table = pd.DataFrame(rows, index=["logistic", "DANN", "early", "gated"])
    table[["low", "high"]] = np.column_stack([table["ua"] - 1, table["ua"] + 1])
    table.loc["gated", ["low", "high"]] = np.nan
    ax = plots.cost(table, "DANN is best", {"ceiling": 80.0})
    drawn(ax.figure)
    front = ax.lines[0]
    assert front.get_xdata().tolist() == [2, 10, 30]
    assert front.get_ydata().tolist() == [60, 65, 70]
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[1] > 80
    texts = [t.get_text() for t in ax.texts]
    assert texts == ["ceiling", "4", "4  logistic", "3", "3  gated", "2", "2  early", "1", "1  DANN"]
    names = texts[2::2]
    boxes = [Text.get_window_extent(t) for t in ax.texts if t.get_text() in names]  # without the line to the point
    assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))
    labels = [t.get_text() for t in ax.figure.legends[0].get_texts()]
    assert labels == ["nobody cheaper is better", "reads the utterance", "reads the dialogue"]
    close = plots.cost(table, "Two ceilings", {"dialogue": 80.3, "utterance": 80.0})
    drawn(close.figure)
    upper, lower = (t.get_window_extent() for t in close.texts[:2])
    assert lower.y1 <= upper.y0
    alone = plots.cost(table.iloc[:1], "One system")
    assert len(drawn(alone.figure).axes) == 1
