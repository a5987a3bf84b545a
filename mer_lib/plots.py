"""Every figure of the book, one function each. A figure has one message, said in its title.

Colours are Okabe & Ito's (2008), told apart by colour-blind readers; markers and labels repeat what
colours say. Figures keep a white ground of their own, so they read the same in dark mode.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, product
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features.audio import FEATURES, FRAME_SECONDS, STEP_SECONDS, frames

_EMOTION_COLOURS = {
    "happy": "#E69F00", "sad": "#0072B2", "neutral": "#7F7F7F", "angry": "#D55E00",
    "excited": "#BBA500", "frustrated": "#882255", "surprise": "#44AA99", "fear": "#332288", "disgust": "#117733",
}  # fmt: skip
COLOURS = _EMOTION_COLOURS | {"audio": "#009E73", "text": "#CC79A7", "both": "#000000", "deadpan": "#56B4E9"}
_SPARE = ("#999933", "#AA4499", "#88CCEE", "#661100", "#6699CC")
MARKERS = {"A": "o", "T": "s", "A+T (w/o L_ua)": "^", "A+T": "D"}


def colour(name: str) -> str:
    """Colour of an emotion, a modality or a style: the same in all figures, also for a name that nobody foresaw."""
    return COLOURS.get(name) or _SPARE[zlib.crc32(name.encode()) % len(_SPARE)]


def ordered(names: Iterable[str]) -> list[str]:
    """Names, each once, in the order of `COLOURS`; others behind them, by the alphabet."""
    known = list(COLOURS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def letters(emotions: Iterable[str]) -> dict[str, str]:
    """A letter for each emotion: the first of its name that none before it has taken, "U" for surprise after sad."""
    found: dict[str, str] = {}
    for emotion in emotions:
        free = [letter for letter in emotion.upper() if letter not in found.values()]
        found[emotion] = free[0] if free else emotion[0].upper()
    return found


def use_style() -> None:
    """Set the look of all figures: large type, thin grid, white ground, 110 dots per inch."""
    import seaborn

    seaborn.set_theme(context="notebook", style="whitegrid", font_scale=1.05)
    plt.rcParams.update({
        "figure.dpi": 110, "figure.facecolor": "white", "savefig.facecolor": "white", "figure.figsize": (7.5, 3.6),
        "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": "medium", "grid.linewidth": 0.5,
        "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True,
    })  # fmt: skip


def sound(wave: np.ndarray, sample_rate: int, title: str, clauses: list[str] | None = None) -> Figure:
    """Draw a waveform, its mel spectrogram and its pitch, one below the other, on one time axis.

    Args:
        wave: (samples,).
        sample_rate: In Hz.
        title: What to see.
        clauses: Texts to write under the time axis, in order, spread in proportion to their letters.
    """
    table = frames(wave, sample_rate)
    seconds = (np.arange(len(table)) + 0.5) * FRAME_SECONDS  # the middle of each frame
    figure, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(7.5, 5.2), height_ratios=(1, 1.6, 1.2))
    top.plot(np.arange(len(wave)) / sample_rate, wave, color=COLOURS["audio"], linewidth=0.4)
    top.set(ylabel="sound", title=title, yticks=[])
    mels = table[:, : FEATURES.index("pitch")].T
    middle.pcolormesh(seconds, np.arange(len(mels)), mels, cmap="cividis", shading="nearest")
    middle.set(ylabel="mel band")
    middle.grid(False)
    bottom.plot(seconds, table[:, FEATURES.index("pitch")], ".-", color=COLOURS["text"])
    bottom.set(ylabel="pitch\n(semitones\nover 100 Hz)", xlabel="seconds")
    if clauses:
        ends = np.cumsum([len(c) for c in clauses]) / sum(len(c) for c in clauses) * len(wave) / sample_rate
        for start, end, clause in zip([0, *ends[:-1]], ends, clauses, strict=True):
            top.text(
                (start + end) / 2,
                1.02,
                clause,
                ha="center",
                va="bottom",
                fontsize=8,
                transform=top.get_xaxis_transform(),
            )
        top.set_title(title, pad=18)
    return figure


def _heatmap(table: np.ndarray | pd.DataFrame, **look: Any) -> Axes:
    import seaborn  # here, since it takes as long to load as all else

    return seaborn.heatmap(table, **look)


def confusion(matrix: np.ndarray, title: str, ax: Axes | None = None, emotions: Sequence[str] = EMOTIONS) -> Axes:
    """Draw a confusion matrix, rows = truth, in percent of each row.

    Args:
        matrix: (classes, classes), rows sum to 1.
        title: What to see.
        ax: Where to draw; by default a new figure.
        emotions: The classes.
    """
    ax = ax or plt.subplots(figsize=(4.2 + _wider(emotions), 3.8 + _wider(emotions)))[1]
    _heatmap(
        100 * matrix, annot=True, fmt=".0f", cmap="cividis", vmin=0, vmax=100, square=True, cbar=False, ax=ax,
        xticklabels=emotions, yticklabels=emotions,
    )  # fmt: skip
    ax.set(xlabel="decided", ylabel="true", title=title)
    return ax


def _wider(emotions: Sequence[str]) -> float:
    """Inches that a confusion matrix needs beyond those of four classes."""
    return 0.4 * max(0, len(emotions) - 4)


def confusions(
    matrices: dict[str, np.ndarray],
    title: str,
    gap: np.ndarray | None = None,
    half: np.ndarray | None = None,
    name: str = "difference",
    emotions: Sequence[str] = EMOTIONS,
) -> Figure:
    """Draw confusion matrices side by side, in percent, and in a last panel how far two of them are apart.

    Args:
        matrices: Name to (classes, classes), shares; a name may have a second line.
        title: What to see.
        gap: (classes, classes), the difference; without it there is no last panel.
        half: (classes, classes), half of the width of the interval of each difference, NaN where it is not known. A
            frame marks the differences whose interval excludes 0.
        name: What the last panel shows.
        emotions: The classes.
    """
    count, more = len(matrices) + (gap is not None), _wider(emotions)
    figure, panels = plt.subplots(
        1, count, figsize=((3.1 + more) * count + 0.5, 4.3 + more), sharey=True, squeeze=False
    )
    for ax, (panel, matrix) in zip(panels[0], matrices.items(), strict=False):
        confusion(matrix, panel, ax, emotions)
    if gap is not None:
        half = np.full(gap.shape, np.nan) if half is None else half
        points = [(f"{100 * g:+.0f}", f"\n±{100 * h:.0f}") for g, h in zip(gap.flat, half.flat, strict=True)]
        text = [value + (end if np.isfinite(h) else "") for (value, end), h in zip(points, half.flat, strict=True)]
        look = {"cmap": "PuOr_r", "vmin": -20, "vmax": 20, "square": True, "cbar": False}
        look |= {"xticklabels": emotions, "yticklabels": emotions}
        written = {"annot": np.reshape(text, gap.shape), "fmt": "", "annot_kws": {"size": 10}}
        ax = _heatmap(100 * gap, ax=panels[0, -1], **look, **written)
        ax.set(xlabel="decided", title=name)
        for row, column in zip(*np.nonzero(np.abs(gap) > half), strict=True):
            frame = Rectangle((column + 0.06, row + 0.06), 0.88, 0.88, fill=False, edgecolor="black", linewidth=2)
            ax.add_patch(frame)
    for ax in panels[0]:
        ax.set_title(ax.get_title(loc="left"), fontweight="normal")
        ax.tick_params(axis="x", labelsize=10)
        ax.tick_params(axis="y", rotation=0)
        ax.label_outer()
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def intervals(
    table: pd.DataFrame, ceilings: dict[str, float], title: str, score: str = "ua", ax: Axes | None = None
) -> Axes:
    """Draw a mean with its interval for each variant, with the ceiling of each as a bar's end.

    Args:
        table: Indexed by variant; columns (score, "mean" | "low" | "high"), in percent.
        ceilings: Variant to its ceiling, in percent; variants without a known ceiling are left out.
        title: What to see.
        score: Which score.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 2.6))[1]
    for row, variant in enumerate(table.index):
        mean, low, high = (table.loc[variant, (score, end)] for end in ("mean", "low", "high"))
        if variant in ceilings:
            ax.plot([ceilings[variant]] * 2, [row - 0.35, row + 0.35], color="black", linewidth=2)
        ax.plot([low, high], [row, row], color=COLOURS["audio"], linewidth=3)
        ax.plot(mean, row, MARKERS.get(variant, "o"), color=COLOURS["audio"], markersize=8)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # a bar may stand there
        place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "zorder": 5}
        ax.annotate(f"{mean:.1f}", (mean, row), fontsize=9, bbox=behind, **place)
    ax.set(
        yticks=range(len(table)),
        yticklabels=table.index,
        ylim=(len(table) - 0.4, -0.7),
        xlabel=f"{score.upper()} (%)",
        title=title,
    )
    return ax


def history(
    rows: list[dict[str, float]], title: str, losses: tuple[str, ...] = ("task",), ax: Axes | None = None
) -> Axes:
    """Draw named losses and dev UA over the epochs of one training."""
    table = pd.DataFrame(rows).set_index("epoch")
    ax = ax or plt.subplots()[1]
    for style, name in zip(("-", "--", ":", "-."), losses, strict=False):
        ax.plot(table.index, table[name], style, color="black", label=f"{name} loss")
    right = ax.twinx()
    right.plot(table.index, table["dev_ua"], "o-", color=COLOURS["audio"], markersize=4, label="dev UA (%)")
    right.grid(False)
    ax.set(xlabel="epoch", ylabel="loss", title=title)
    right.set_ylabel("dev UA (%)")
    both = [a + b for a, b in zip(ax.get_legend_handles_labels(), right.get_legend_handles_labels(), strict=True)]
    ax.legend(*both, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=3, fontsize=9)
    return ax


def attention(weights: np.ndarray, words: list[str], title: str, ax: Axes | None = None) -> Axes:
    """Draw which frames each word listens to.

    Args:
        weights: (words, frames); rows sum to 1.
        words: One label per row.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.28 * len(words) + 1.2))[1]
    edges = np.arange(weights.shape[1] + 1) * STEP_SECONDS
    ax.pcolormesh(edges, np.arange(len(words) + 1), weights, cmap="cividis")
    ax.set(yticks=np.arange(len(words)) + 0.5, yticklabels=words, ylim=(len(words), 0), xlabel="seconds", title=title)
    ax.grid(False)
    return ax


def method() -> Figure:
    """Draw the parts of the method, from sound and words at the top to the decision, each with its switch."""
    figure, ax = plt.subplots(figsize=(7.0, 7.4))
    ax.set(xlim=(0, 100), ylim=(0, 104), title="From sound and words to a decision, and what switches off")
    ax.axis("off")

    def box(x: float, y: float, text: str, colour: str, switch: str = "", width: float = 19) -> None:
        shape, corner = "round,pad=0,rounding_size=1.5", (x - width / 2, y - 4.5)
        ax.add_patch(FancyBboxPatch(corner, width, 9, shape, linewidth=1.5, edgecolor=colour, facecolor="white"))
        ax.text(x, y + (1.6 if switch else 0), text, ha="center", va="center", fontsize=10, linespacing=1.1)
        ax.text(x, y - 2.7, switch, ha="center", va="center", fontsize=7.5, family="monospace", color="#444444")

    def arrow(x: float, y: float, to_x: float, to_y: float) -> None:
        style = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (to_x, to_y), (x, y), arrowprops=style)

    audio, text, both = COLOURS["audio"], COLOURS["text"], COLOURS["both"]
    sides = ((-1, 29, 10, audio, "audio", "text"), (1, 71, 90, text, "text", "audio"))
    for side, x, head, colour, name, other in sides:
        box(x, 97, "audio $X_a$, frames" if side < 0 else "text $X_t$, words", colour, "modalities", 25)
        box(x, 82, f"encoder $\\to H_{name[0]}$", colour, "encoder", 25)
        box(x, 62, f"unique $U_{name[0]}$", colour, "", 17)
        box(head, 62, f"head of {name}", colour, "beta", 17)
        box(x, 39, f"{name} asks {other}", both, "attention, alignment", 31)
        box(head, 6.5, r"$\mathcal{L}_{ua}$", colour, "beta", 12)
        arrow(x, 92.5, x, 86.5)
        for offset, end in ((0, x), (-8 * side, 50 + 4 * side), (8 * side, head)):
            arrow(x + offset, 77.5, end, 66.5)
        arrow(x, 57.5, x + 3 * side, 43.5)
        arrow(x, 57.5, 100 - x + 11 * side, 43.5)
        arrow(x, 34.5, x, 26)
        arrow(head, 57.5, head, 11)
    box(50, 62, "public $P_a, P_t$", both, "", 19)
    ax.text(50, 83, "$\\mathcal{L}_{sp}$:\npublics alike,\nthe rest apart", ha="center", va="center", fontsize=9)
    ax.text(50, 76, "alpha", ha="center", va="center", fontsize=7.5, family="monospace", color="#444444")
    arrow(50, 57.5, 50, 26)
    box(50, 21.5, "fusion: pool over time, concatenate, MLP", both, "", 60)
    arrow(50, 17, 50, 11)
    box(50, 6.5, r"4 logits $\to$ CE $+\,\alpha\mathcal{L}_{sp}+\beta\mathcal{L}_{ua}$", both, "", 50)
    arrow(16, 6.5, 25, 6.5)
    arrow(84, 6.5, 75, 6.5)
    return figure


def by_kind(table: pd.DataFrame, ceilings: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw how often a system is right on each kind of utterance, among what is possible.

    Args:
        table: Indexed by kind; columns right, low, high, in percent.
        ceilings: Same index; one column per kind of system, in percent.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.5 * len(table) + 1.4))[1]
    rows = np.arange(len(table))
    for (name, values), marker in zip(ceilings.items(), "+x|", strict=False):
        ax.scatter(values.loc[table.index], rows, 200, "black", marker=marker, linewidth=2, label=f"{name} ceiling")
    ax.hlines(rows, table["low"], table["high"], color=COLOURS["audio"], linewidth=3)
    ax.plot(table["right"], rows, "D", color=COLOURS["audio"], markersize=7, label="measured")
    ax.set(yticks=rows, yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), title=title)
    ax.set(xlim=(-3, 103), xlabel="right (%)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=4, fontsize=9)
    return ax


def curves(table: pd.DataFrame, title: str, ylabel: str, level: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw one line per column against the index, each with its own colour, line, marker and name.

    Args:
        table: Its index holds numbers and bears the name of the horizontal axis.
        title: What to see.
        ylabel: What the values are.
        level: A value to compare with, drawn as a thin horizontal line.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots()[1]
    if level is not None:
        ax.axhline(level, color="black", linewidth=1)
    looks = zip(("text", "audio", "both", "sad"), ("o-", "s--", "^:", "D-."), strict=True)
    for name, (colour, line) in zip(table.columns, looks, strict=False):
        ax.plot(table.index, table[name], line, color=COLOURS[colour], label=name)
    ax.set(xlabel=table.index.name, ylabel=ylabel, title=title)
    ax.locator_params(axis="x", integer=pd.api.types.is_integer_dtype(table.index))
    ax.legend(loc="best")
    return ax


def runs(results: pd.DataFrame, title: str, score: str = "ua", ax: Axes | None = None) -> Axes:
    """Draw every run as a dot, one column of dots per fold, with the mean of each fold as a bar.

    Args:
        results: One row per run: columns `fold` and the score, in percent.
        title: What to see.
        score: Which score.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots()[1]
    for fold, values in results.groupby("fold")[score]:
        places = fold + np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [fold]
        ax.plot(places, values, "o", color=COLOURS["audio"], alpha=0.8)
        ax.plot([fold - 0.3, fold + 0.3], [values.mean()] * 2, color="black", linewidth=2)
    ax.set(xlabel="fold (bar: mean over seeds)", ylabel=f"{score.upper()} (%)", title=title)
    ax.set_xticks(results["fold"].unique())
    return ax


def dialogues(table: pd.DataFrame, title: str, most: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the emotion of each turn as a coloured square with its letter, one row per dialogue.

    Args:
        table: A corpus's table.
        title: What to see.
        most: Number of dialogues, the first ones of the table.
        ax: Where to draw; by default a new figure.
    """
    names = table["dialogue"].unique()[:most]
    ax = ax or plt.subplots(figsize=(7.5, 0.3 * len(names) + 0.9))[1]
    longest, letter = 1, letters(ordered(table["emotion"]))
    for row, name in enumerate(names):
        emotions = table[table["dialogue"] == name].sort_values("turn")["emotion"]
        longest = max(longest, len(emotions))
        for place, emotion in enumerate(emotions):
            ax.barh(row, 0.94, left=place, height=0.86, color=colour(emotion))
            ink = "black" if emotion in ("happy", "excited") else "white"  # white on orange is hard to read
            ax.text(place + 0.47, row, letter[emotion], ha="center", va="center", color=ink, fontsize=9)
    ax.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6), xlim=(0, longest), xlabel="turn", title=title)
    ax.set_yticklabels(names, fontsize=8)
    ax.grid(False)
    return ax


def spread(table: pd.DataFrame, by: str, columns: list[str], title: str) -> Figure:
    """Draw the middle half (thick), the middle nine tenths (thin) and the median of each column per emotion or style.

    Args:
        table: One row per utterance.
        by: Column with the emotion or the style.
        columns: What to draw, one panel each.
        title: What to see.
    """
    order = ordered(table[by])
    figure, panels = plt.subplots(1, len(columns), figsize=(10, 3.4), sharey=True, squeeze=False)
    for ax, column in zip(panels[0], columns, strict=True):
        for row, name in enumerate(order):
            values = table.loc[table[by] == name, column]
            low, left, middle, right, high = values.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
            ax.hlines(row, low, high, color=colour(name), linewidth=2)
            ax.hlines(row, left, right, color=colour(name), linewidth=12)
            ax.plot(middle, row, "|", color="white", markersize=11, markeredgewidth=2)
        ax.axvline(0, color="black", linewidth=1, zorder=0)
        ax.set(xlabel=column, yticks=range(len(order)), yticklabels=order, ylim=(len(order) - 0.5, -0.5))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def spectra(table: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw how far each mean spectrum lies above or below the mean of all.

    Args:
        table: One row per speaker, one column per band from low to high, natural log of power.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.28 * len(table) + 1.2))[1]
    apart = 10 / np.log(10) * (table - table.mean())
    most = np.abs(apart.to_numpy()).max()
    bar = {"label": "dB against all"}
    _heatmap(apart, cmap="PuOr_r", vmin=-most, vmax=most, xticklabels=False, yticklabels=1, cbar_kws=bar, ax=ax)
    ax.set(xlabel=f"{table.shape[1]} mel bands, low to high", ylabel="", title=title)
    ax.tick_params(axis="y", rotation=0)
    return ax


def emotion_map(voice: dict[str, str], words: dict[str, str], title: str, ax: Axes | None = None) -> Axes:
    """Draw the four emotions by valence and arousal (Russell 1980), and join those that a channel confuses.

    Args:
        voice: Emotion to the one that the voice takes for it most often.
        words: The same for the words.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(5.6, 3.6))[1]
    place = {"happy": (1, 1), "neutral": (1, -1), "sad": (-1, -1), "angry": (-1, 1)}
    for near, name, line in ((voice, "audio", "-"), (words, "text", "--")):
        label = f"alike in the {'voice' if name == 'audio' else 'words'}"
        for emotion, other in ((e, o) for e, o in near.items() if e < o):
            x, y = zip(place[emotion], place[other], strict=True)
            ax.plot(x, y, line, color=COLOURS[name], linewidth=4, label=label)
            label = "_"
    for emotion, at in place.items():
        ax.plot(*at, "o", color=COLOURS[emotion], markersize=16, markeredgecolor="white")
        ax.annotate(emotion, at, xytext=(0, 16 * at[1]), textcoords="offset points", ha="center", va="center")
    ax.set(xticks=[-1, 1], xticklabels=["unpleasant", "pleasant"], xlabel="valence", xlim=(-1.6, 1.6), title=title)
    ax.set(yticks=[-1, 1], yticklabels=["low", "high"], ylabel="arousal", ylim=(-1.7, 1.7))
    ax.grid(False)
    ax.legend(loc="center", fontsize=9)
    return ax


def ladder(table: pd.DataFrame, title: str, chance: float | None = None) -> Figure:
    """Draw how far each kind of system can get: a row per kind, a panel per column, in percent.

    Args:
        table: One row per kind of system, one column per corpus; values that are missing are left out.
        title: What to see.
        chance: What guessing reaches, drawn as a thin line.
    """
    size = (2.2 + 2.6 * max(table.shape[1], 2), 0.42 * len(table) + 1.3)
    figure, panels = plt.subplots(1, table.shape[1], figsize=size, sharex=True, sharey=True, squeeze=False)
    rows = np.arange(len(table))
    for ax, (name, values) in zip(panels[0], table.items(), strict=True):
        if chance is not None:
            ax.axvline(chance, color="black", linewidth=1, linestyle=":")
        ax.hlines(rows, chance or 0, values, color="#BBBBBB", linewidth=2)
        ax.plot(values, rows, "D", color=COLOURS["audio"], markersize=8)
        for row, value in zip(rows, values, strict=True):
            if np.isfinite(value):
                right = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 10}
                ax.annotate(f"{value:.1f}", (value, row), **right)
        ax.set(yticks=rows, yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), xlim=(0, 119), xlabel="right (%)")
        ax.set(xticks=range(0, 101, 25))
        ax.set_title(name, fontweight="normal")
        ax.grid(axis="y", visible=False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def stress(
    waves: list[np.ndarray], sample_rate: int, clauses: list[list[str]], stressed: list[int], title: str
) -> Figure:
    """Draw the loudness of utterances over time, one below the other, and the mean of each clause.

    Args:
        waves: (samples,) each.
        sample_rate: In Hz.
        clauses: Texts of each utterance's clauses, spread over its time in proportion to their letters.
        stressed: Number of the stressed clause of each utterance, whose text is set in bold.
        title: What to see.
    """
    size = (7.5, 1.5 * len(waves) + 0.8)
    figure, panels = plt.subplots(len(waves), 1, sharex=True, sharey=True, figsize=size, squeeze=False)
    window = np.hanning(sample_rate // 10)
    for ax, wave, texts, number in zip(panels[:, 0], waves, clauses, stressed, strict=True):
        level = 10 * np.log10(np.convolve(wave**2, window / window.sum(), "same") + 1e-6)
        ax.fill_between(np.arange(len(wave)) / sample_rate, -60, level, color=COLOURS["audio"], alpha=0.4, linewidth=0)
        ends = np.cumsum([len(text) for text in texts]) / sum(len(text) for text in texts) * len(wave)
        for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            width, weight = (4, "bold") if i == number else (1.5, "normal")
            mean = 10 * np.log10(np.mean(wave[int(start) : int(end)] ** 2) + 1e-6)
            ax.hlines(mean, start / sample_rate, end / sample_rate, color="black", linewidth=width)
            ax.text((start + end) / 2 / sample_rate, -11, texts[i], ha="center", fontsize=9, fontweight=weight)
        ax.set(ylabel="loudness (dB)", ylim=(-60, -3), yticks=[-60, -40, -20])
    panels[-1, 0].set_xlabel("seconds")
    panels[0, 0].set_title(title)
    return figure


def side_by_side(
    tables: dict[str, pd.DataFrame],
    title: str,
    ylabel: str,
    levels: dict[str, float] | None = None,
    sharey: bool = True,
) -> Figure:
    """Draw the `curves` of several tables in panels of their own, with one legend.

    Args:
        tables: Name of a panel to what `curves` draws; a column has the same place in all tables.
        title: What to see.
        ylabel: What the values are.
        levels: Name of a panel to a value to compare with, drawn as a thin horizontal line.
        sharey: Whether all panels have one vertical axis.
    """
    size = (max(7.5, 4.7 * len(tables)), 3.9)
    figure, panels = plt.subplots(1, len(tables), sharey=sharey, squeeze=False, figsize=size)
    for ax, (name, table) in zip(panels[0], tables.items(), strict=True):
        curves(table, name, ylabel, (levels or {}).get(name), ax)
        ax.set_title(name, fontweight="normal")
        ax.get_legend().remove()
        if sharey:
            ax.label_outer()
    lines = {line.get_label(): line for ax in panels[0] for line in ax.get_legend_handles_labels()[0]}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def filters(hertz: np.ndarray, weights: np.ndarray, title: str, ax: Axes | None = None) -> Axes:
    """Draw the weights of a bank of filters against frequency, every fourth one in bold.

    Args:
        hertz: (frequencies,).
        weights: (bands, frequencies).
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 2.4))[1]
    for number, band in enumerate(weights):
        bold = number % 4 == 0
        ax.plot(hertz, band, color=COLOURS["audio"] if bold else "#BBBBBB", linewidth=2 if bold else 1)
    ax.set(xlabel="frequency (Hz)", ylabel="weight", yticks=[0, 1], title=title)
    return ax


def states(table: np.ndarray, seconds: float, title: str, ax: Axes | None = None) -> Axes:
    """Draw hidden states over time, one row per number, each around its own mean.

    Args:
        table: (time, width).
        seconds: How long the sound is.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 2.6))[1]
    centred = (table - table.mean(axis=0)).T
    ax.imshow(centred, aspect="auto", cmap="cividis", interpolation="none", extent=(0, seconds, len(centred), 0))
    ax.set(xlabel="seconds", ylabel="number", title=title)
    ax.grid(visible=False)
    return ax


def profiles(table: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw how far the mean of each feature lies above or below 0, one row per style.

    Args:
        table: One row per style, one column per feature, in standard deviations.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(8.5, 0.5 * len(table) + 1.7))[1]
    most = np.nanmax(np.abs(table.to_numpy()))
    bar = {"label": "deviations"}
    _heatmap(table, annot=True, fmt="+.1f", cmap="PuOr_r", vmin=-most, vmax=most, cbar_kws=bar, ax=ax)
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(axis="y", rotation=0)
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=30, ha="right")
    return ax


def reach(seen: dict[str, np.ndarray], title: str) -> Figure:
    """Draw which steps of the input each step of the output depends on, one panel per name.

    Args:
        seen: Name to (output steps, input steps), True where it depends; inputs beyond the outputs are padding.
        title: What to see.
    """
    figure, panels = plt.subplots(1, len(seen), sharey=True, figsize=(2.5 * len(seen), 2.7), squeeze=False)
    for ax, (name, matrix) in zip(panels[0], seen.items(), strict=True):
        ax.pcolormesh(matrix, cmap="Greys", vmin=0, vmax=1.4, edgecolors="white", linewidth=0.5)
        ax.axvline(len(matrix), color=COLOURS["angry"], linewidth=3)
        ax.set(xlabel="input step", xticks=[], yticks=[], ylim=(len(matrix), 0))
        ax.set_title(name, fontweight="normal", fontsize="small")
        ax.grid(False)
    panels[0, 0].set_ylabel("output step")
    panels[0, -1].text(1.04, 0.5, "right of the line:\npadding", fontsize=9, transform=panels[0, -1].transAxes)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def tracks(table: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw several tracks of the pitch of one utterance over time, with a line at every octave.

    Args:
        table: Its index holds seconds; one column per tracker, in semitones above 100 Hz, NaN where voiceless.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 3.2))[1]
    looks = zip(("angry", "both", "audio", "text"), ("x", ".", "+", "1"), strict=True)
    for name, (colour, marker) in zip(table.columns, looks, strict=False):
        ax.plot(table.index, table[name], marker, color=COLOURS[colour], markersize=6, label=name)
    low, high = (round(float(end) / 12) for end in (table.min().min(), table.max().max()))
    ax.set(yticks=12 * np.arange(low - 1, high + 2), xlabel="seconds", title=title)
    ax.set_ylabel("pitch (semitones over 100 Hz;\na line per octave)")
    ax.legend(loc="upper right", fontsize=9)
    return ax


def grids(tables: dict[str, pd.DataFrame], title: str, rows: str = "", columns: str = "", fmt: str = ".2f") -> Figure:
    """Draw small tables side by side, each number on a ground that is brighter the larger it is.

    Args:
        tables: Name to table, not negative; all share one scale, and the names of their rows.
        title: What to see.
        rows: What the rows are.
        columns: What the columns are.
        fmt: How to write a number.
    """
    widths, most = [len(table.columns) for table in tables.values()], max(t.to_numpy().max() for t in tables.values())
    size = (1.6 + 0.68 * sum(widths), 1.5 + 0.42 * max(map(len, tables.values())))
    figure, panels = plt.subplots(1, len(tables), figsize=size, width_ratios=widths, squeeze=False)
    for ax, (name, table) in zip(panels[0], tables.items(), strict=True):
        look = {"cmap": "cividis", "vmin": 0, "vmax": most, "cbar": False, "linewidths": 1}
        _heatmap(table, annot=True, fmt=fmt, annot_kws={"fontsize": 9}, ax=ax, **look)
        ax.set(xlabel=columns, ylabel=rows if ax is panels[0, 0] else "")
        ax.set_title(name, fontweight="normal")
        ax.tick_params(axis="y", rotation=0)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def listening(
    wave: np.ndarray,
    sample_rate: int,
    maps: dict[str, np.ndarray],
    words: list[str],
    bold: np.ndarray,
    part: tuple[float, float],
    title: str,
) -> Figure:
    """Draw the loudness of an utterance, and below it, on the same time axis, maps of where each word looks.

    Args:
        wave: (samples,).
        sample_rate: In Hz.
        maps: Name to weights, (words, frames); all share one scale.
        words: One label per row of a map.
        bold: (words,), whether to set the label in bold.
        part: Begin and end of what is shaded, in shares of the utterance.
        title: What to see.
    """
    heights = [1.2, *[0.24 * len(words)] * len(maps)]
    size = (7.5, sum(heights) + 1.0)
    figure, panels = plt.subplots(len(heights), 1, sharex=True, figsize=size, height_ratios=heights)
    seconds, window = len(wave) / sample_rate, np.hanning(sample_rate // 10)
    level = 10 * np.log10(np.convolve(wave**2, window / window.sum(), "same") + 1e-6)
    panels[0].fill_between(np.arange(len(wave)) / sample_rate, -60, level, color=COLOURS["audio"], linewidth=0)
    panels[0].axvspan(*(share * seconds for share in part), color="black", alpha=0.15, linewidth=0)
    panels[0].set(ylabel="loudness (dB)", ylim=(-60, -3), title=title)
    most = max(weights.max() for weights in maps.values())
    for ax, (name, weights) in zip(panels[1:], maps.items(), strict=True):
        edges = np.linspace(0, seconds, weights.shape[1] + 1)
        ax.pcolormesh(edges, np.arange(len(words) + 1), weights, cmap="cividis", vmin=0, vmax=most)
        for share in part:
            ax.axvline(share * seconds, color="white", linewidth=1.5, linestyle="--")
        ax.set(yticks=np.arange(len(words)) + 0.5, yticklabels=words, ylim=(len(words), 0))
        ax.set_title(name, fontweight="normal", fontsize=10)
        ax.tick_params(axis="y", labelsize=9)
        ax.grid(False)
        for tick, stressed in zip(ax.get_yticklabels(), bold, strict=True):
            tick.set_fontweight("bold" if stressed else "normal")
    panels[-1].set(xlabel="seconds", xlim=(0, seconds))
    return figure


def planes(scores: dict[str, Callable], cells: pd.DataFrame, title: str) -> Figure:
    """Draw what a fusion says for every voice and every words, as happy (shaded) or angry (white), a panel each.

    Args:
        scores: Name to a function of two arrays, voice and words; above 0 it says happy, at 0 nothing (grey).
        cells: Columns a (voice), t (words) and emotion: what is meant. A ring marks what is not said right.
        title: What to see.
    """
    figure, panels = plt.subplots(
        1, len(scores), figsize=(2.4 * len(scores) + 0.6, 3.3), sharex=True, sharey=True, squeeze=False
    )
    side = np.linspace(-1.7, 1.7, 171)
    colours = ListedColormap(["white", "#CCCCCC", "#FBE0A8"])
    for ax, (name, score) in zip(panels[0], scores.items(), strict=True):
        said = np.sign(np.round(score(*np.meshgrid(side, side)), 9))
        ax.pcolormesh(side, side, said, cmap=colours, vmin=-1, vmax=1, rasterized=True)
        wanted = np.where(cells["emotion"] == "happy", 1, -1)
        wrong = cells[np.sign(np.round(score(cells["a"], cells["t"]), 9)) != wanted]
        ax.scatter(wrong["a"], wrong["t"], 420, facecolors="none", edgecolors="black", linewidths=2, label="not right")
        for emotion, marker in (("happy", "o"), ("angry", "X")):
            here = cells[cells["emotion"] == emotion]
            look = {"facecolors": COLOURS[emotion], "edgecolors": "black", "marker": marker}
            ax.scatter(here["a"], here["t"], 110, label=f"means {emotion}", **look)
        ax.set(xticks=[-1, 1], xticklabels=["deadpan", "lively"], xlabel="voice")
        ax.set_title(name, fontweight="normal")
        ax.grid(False)
    panels[0, 0].set(yticks=[-1, 1], yticklabels=["angry", "happy"], ylabel="words")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncol=3, markerscale=0.6)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def bits(parts: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw how information is divided: one bar per row, its parts side by side, told apart by colour and hatch.

    Args:
        parts: One row per bar, columns redundant, unique A, unique T and synergy, in bits.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.45 * len(parts) + 1.4))[1]
    looks = (("#BBBBBB", ""), (COLOURS["audio"], "//"), (COLOURS["text"], "\\\\"), ("#F0E442", ".."))
    rows, left = np.arange(len(parts)), np.zeros(len(parts))
    for (name, values), (colour, hatch) in zip(parts.items(), looks, strict=True):
        width = values.to_numpy()
        ax.barh(rows, width, 0.7, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=name)
        for row in rows[width >= 0.06]:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            middle = left[row] + width[row] / 2
            ax.text(middle, row, f"{width[row]:.2f}", ha="center", va="center", fontsize=9, bbox=box)
        left = left + width
    ax.set(yticks=rows, yticklabels=parts.index, ylim=(len(parts) - 0.5, -0.5), xlabel="bits", title=title)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=4, fontsize=9)
    return ax


def clouds(
    points: dict[str, dict[str, np.ndarray]], labels: np.ndarray, title: str, emotions: Sequence[str] = EMOTIONS
) -> Figure:
    """Draw the vectors of the two modalities in the plane, a panel per condition, all on one scale.

    Args:
        points: Panel to modality to (utterances, 2); at most four, which make a square; fewer make a row.
        labels: (utterances,), index into `emotions`; a letter in a box marks the mean of each emotion.
        title: What to see.
        emotions: The classes.
    """
    columns = len(points) if len(points) < 4 else 2
    rows = -(-len(points) // columns)
    size = (3.6 * columns + 0.4, 2.9 * rows + 1)
    figure, panels = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax, (name, modalities) in zip(panels.flat, points.items(), strict=True):
        for (modality, cloud), marker in zip(modalities.items(), "os", strict=True):
            look = {"s": 12, "alpha": 0.45, "linewidths": 0, "color": COLOURS[modality], "marker": marker}
            ax.scatter(*cloud.T, **look, label=modality)
        for modality, cloud in modalities.items():
            for number, letter in enumerate(letters(emotions).values()):
                if (labels == number).any():
                    shape = {"audio": "circle", "text": "square"}[modality]
                    box = {"boxstyle": f"{shape},pad=0.15", "facecolor": "white", "edgecolor": COLOURS[modality]}
                    place = cloud[labels == number].mean(0)
                    ax.text(*place, letter, ha="center", va="center", fontsize=9, bbox=box)
        ax.set(xlabel="first direction", ylabel="second direction", aspect="equal")
        ax.set_title(name, fontweight="normal")
        ax.label_outer()
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncol=2, markerscale=2)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def maps(
    points: dict[str, np.ndarray],
    groups: dict[str, np.ndarray],
    title: str,
    notes: dict[str, str] | None = None,
    columns: int = 3,
) -> Figure:
    """Draw maps of points, a panel each, without scales: the axes of a t-SNE map mean nothing.

    Args:
        points: Panel to (points, 2).
        groups: Panel to the group of each point, (points,): an emotion (drawn as its letter), a modality, or any other
            name. Each group has a colour and a marker of its own; the group "" is drawn as dots and has no legend.
        title: What to see.
        notes: Panel to what is written below it: the number beside the picture.
        columns: Panels in a row.
    """
    columns = min(columns, len(points))
    rows = -(-len(points) // columns)
    lines = max((note.count("\n") + 1 for note in (notes or {}).values()), default=0)
    size = (3.1 * columns + 0.2, (2.9 + 0.22 * lines) * rows + 0.6)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False)
    shown = list(dict.fromkeys(str(name) for group in groups.values() for name in group if name))
    emotions = letters(name for name in ordered(shown) if name in _EMOTION_COLOURS)
    markers = {name: rf"$\mathsf{{{letter}}}$" for name, letter in emotions.items()} | {"audio": "o", "text": "x"}
    others = [name for name in shown if name not in markers]
    looks = {name: (COLOURS[name], marker) for name, marker in markers.items()}
    free = cycle(zip(("#0072B2", "#D55E00", "#009E73", "#E69F00"), "s+^D", strict=True))
    looks |= dict(zip(others, free, strict=False))
    legend = {}
    for ax, (panel, place) in zip(panels.flat, points.items(), strict=False):
        for name in dict.fromkeys(groups[panel]):
            ink, marker = looks[str(name)] if name else ("black", ".")
            here = groups[panel] == name
            look = {"color": ink, "marker": marker, "s": 40, "linewidths": 1 if marker in "x+" else 0.4}
            legend[name] = ax.scatter(*place[here].T, **look)
        ax.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        ax.set_title(panel, fontweight="normal", fontsize=11)
        ax.set_xlabel((notes or {}).get(panel, ""), fontsize=9.5)
        for side in ax.spines.values():
            side.set_visible(True)
    for ax in panels.flat[len(points) :]:
        ax.axis("off")
    names = [name for name in looks if name in legend]
    if names:
        look = {"ncols": min(len(names), max(4, 3 * columns)), "markerscale": 1.3}
        figure.legend([legend[n] for n in names], names, loc="outside lower center", **look)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def word_map(points: np.ndarray, words: list[str], groups: list[str], title: str, ax: Axes | None = None) -> Axes:
    """Draw words as points in a plane; words that share a point share a label.

    Args:
        points: (words, 2).
        words: One name per point.
        groups: One name per point, which gives it its `colour`.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 3.8))[1]
    places: dict[tuple[float, ...], list[int]] = {}
    for number, point in enumerate(points):
        places.setdefault(tuple(np.round(point, 3).tolist()), []).append(number)
    for (x, y), numbers in places.items():
        ax.plot(x, y, "o", color=colour(groups[numbers[0]]), markersize=10)
        label = ", ".join(words[number] for number in numbers)
        ax.annotate(label, (x, y), (9, -4), textcoords="offset points", fontsize=11)
    ax.set(xlabel="first direction", ylabel="second direction", title=title)
    ax.margins(x=0.3, y=0.15)
    return ax


def similarity(cosines: np.ndarray, words: list[str], sizes: list[int], title: str, ax: Axes | None = None) -> Axes:
    """Draw the cosine between any two of some words, with a line between groups.

    Args:
        cosines: (words, words).
        words: One name per row.
        sizes: Number of words in each group, in order.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(6.8, 5.6))[1]
    shown = {"xticklabels": words, "yticklabels": words, "cbar_kws": {"label": "cosine"}}
    _heatmap(cosines, cmap="cividis", vmin=min(0.0, cosines.min()), vmax=1, square=True, ax=ax, **shown)
    for end in np.cumsum(sizes)[:-1]:
        ax.axhline(end, color="white", linewidth=3)
        ax.axvline(end, color="white", linewidth=3)
    ax.set_title(title)
    ax.tick_params(labelsize=8)
    return ax


def words_in_time(
    wave: np.ndarray, sample_rate: int, words: list[str], spans: np.ndarray, title: str, ax: Axes | None = None
) -> Axes:
    """Draw a waveform with each word over the stretch of time that its span gives it.

    Args:
        wave: (samples,).
        sample_rate: In Hz.
        words: The words in order.
        spans: (words, 2), where each begins and ends, from 0 to 1.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(8.5, 2.8))[1]
    seconds = np.arange(len(wave)) / sample_rate
    ax.plot(seconds, wave / np.abs(wave).max(), color=COLOURS["audio"], linewidth=0.4)
    for number, (word, (start, end)) in enumerate(zip(words, spans * len(wave) / sample_rate, strict=True)):
        ax.axvspan(start, end, color=COLOURS["text"], alpha=0.15 + 0.15 * (number % 2), linewidth=0)
        ax.text((start + end) / 2, 1.12, word, ha="center", va="bottom", rotation=40, fontsize=9)
    ax.set(xlabel="seconds", yticks=[], ylim=(-1.05, 2.1), xlim=(0, seconds[-1]), title=title)
    ax.grid(False)
    return ax


def trends(table: pd.DataFrame, title: str, sharey: bool | str = "row", each_run: bool = True) -> Figure:
    """Draw curves over the epochs, thin for each run and thick for the median of each group, all above a line at 0.

    Runs end at different epochs. A median is drawn up to the last epoch that every run of its group has reached:
    beyond it, it would move because runs leave.

    Args:
        table: One row per run and epoch: columns `epoch`, `value`, `group` (at most four), `run`, and `row` and
            `column`, the names of the panel.
        title: What to see.
        sharey: Which panels share a vertical axis, as in `plt.subplots`.
        each_run: Whether to draw the thin lines, too; many runs of several groups hide one another.
    """
    rows, columns, groups = (list(dict.fromkeys(table[name])) for name in ("row", "column", "group"))
    size = (max(7.5, 3.3 * len(columns) + 0.6), 2.5 * len(rows) + 1.2)
    figure, panels = plt.subplots(len(rows), len(columns), sharex=True, sharey=sharey, squeeze=False, figsize=size)
    looks = dict(zip(groups, zip(("both", "audio", "text", "sad"), ("-", "--", ":", "-."), strict=True), strict=False))
    for ax, (row, column) in zip(panels.flat, product(rows, columns), strict=True):
        ax.axhline(0, color="black", linewidth=1)
        for group, runs in table[(table["row"] == row) & (table["column"] == column)].groupby("group", sort=False):
            colour, line = looks[group]
            wide = runs.pivot_table(index="epoch", columns="run", values="value")
            if each_run:
                ax.plot(wide.index, wide, "-", color=COLOURS[colour], linewidth=0.7, alpha=0.35)
            middle = wide.dropna().median(axis=1)
            ax.plot(middle.index, middle, line, color=COLOURS[colour], linewidth=3, label=group)
        ax.set(xlabel="epoch" if row == rows[-1] else "", ylabel=row if column == columns[0] else "")
        ax.set_title(column if row == rows[0] else "", fontweight="normal")
        ax.locator_params(axis="x", integer=True)
    lines = {line.get_label(): line for ax in panels.flat for line in ax.get_legend_handles_labels()[0]}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=min(len(lines), 3))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def cube(scores: dict[tuple[bool, ...], float], parts: tuple[str, ...], title: str, ax: Axes | None = None) -> Axes:
    """Draw the scores of all combinations of three parts at the corners of a cube, with what each edge adds.

    Args:
        scores: Whether each of the three parts is there, to the score. A corner that is not given gets a "?".
        parts: Names of the parts: the first goes to the right, the second to the back, the third up.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 4.6))[1]
    steps = np.array([[1.0, 0.0], [0.55, 0.32], [0.0, 0.8]])
    corners, white = list(product((False, True), repeat=3)), {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    edges = [(c, (*c[:n], True, *c[n + 1 :])) for c in corners for n in range(3) if not c[n]]
    for start, end in edges:
        known, ends = start in scores and end in scores, np.array([start, end]) @ steps
        ax.plot(*ends.T, "-" if known else ":", color="black" if known else "#BBBBBB", linewidth=1.5, zorder=1)
        if known:
            gain = f"{scores[end] - scores[start]:+.1f}"
            ax.text(*([0.67, 0.33] @ ends), gain, ha="center", va="center", fontsize=9, bbox=white)
    for corner in corners:
        there = [part for part, has in zip(parts, corner, strict=True) if has]
        text = f"{scores[corner]:.1f}" if corner in scores else "?"
        box = {"boxstyle": "round", "facecolor": "#D5EFE6" if corner in scores else "white", "edgecolor": "#009E73"}
        ax.text(*(corner @ steps), text, ha="center", va="center", fontweight="bold", bbox=box, zorder=3)
        look = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "bbox": white, "zorder": 2}
        ax.annotate(" + ".join(there) or "none", corner @ steps, (0, -20), **look)
    ax.set(xlim=(-0.25, 1.85), ylim=(-0.2, 1.25), title=title)
    ax.axis("off")
    return ax


def differences(
    table: pd.DataFrame, title: str, xlabel: str = "points", margin: float = 2.0, ax: Axes | None = None
) -> Axes:
    """Draw differences with their intervals, a row each, around a line at 0; in grey what was predicted.

    Args:
        table: One row per difference: columns `difference`, `low`, `high`, and perhaps `predicted`: +1 (grey from
            0 on) or 0 (grey within the margin), and `p_holm`: marks are filled where it is below 0.05.
        title: What to see.
        xlabel: What the differences are.
        margin: Points within which a difference counts as none.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(7.5, 0.36 * len(table) + 1.4))[1]
    rows, ends = np.arange(len(table)), table[["low", "high", "difference"]].abs().max().max()
    reach = 1.1 * max(ends, margin)
    if "predicted" in table:
        left = np.where(table["predicted"] > 0, 0.0, -margin)
        width = np.where(table["predicted"] > 0, reach, 2 * margin)
        ax.barh(rows, width, 0.8, left, color="#DDDDDD", zorder=1)
        xlabel += "; grey: predicted"
    ax.axvline(0, color="black", linewidth=1, zorder=2)
    ax.hlines(rows, table["low"], table["high"], color=COLOURS["audio"], linewidth=3, zorder=3)
    sure = np.full(len(table), True)
    if "p_holm" in table:
        sure = (table["p_holm"] < 0.05).to_numpy()
        xlabel += "\nfilled: told from 0, corrected for many tests"
    filling = np.where(sure, COLOURS["audio"], "white")
    edge = {"edgecolors": COLOURS["audio"], "linewidths": 1.5}
    ax.scatter(table["difference"], rows, 36, filling, marker="D", zorder=4, **edge)
    ax.set(yticks=rows, yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), xlim=(-reach, reach))
    ax.set(xlabel=xlabel, title=title)
    ax.grid(axis="y", visible=False)
    return ax


def attainable(tables: dict[str, pd.DataFrame], marks: dict[str, int], title: str) -> Figure:
    """Draw which test-set sizes make printed percentages whole counts, one panel per class, one line per row.

    Args:
        tables: Class to (sizes, rows of the table), True where it does, as `audit.fits` returns.
        marks: Class to a size to point at; none for a class that is not named.
        title: What to see.
    """
    size = (8.2, 0.8 + sum(0.55 + 0.26 * len(table.columns) for table in tables.values()))
    figure, panels = plt.subplots(len(tables), 1, sharex=True, figsize=size, squeeze=False)
    for ax, (name, table) in zip(panels[:, 0], tables.items(), strict=True):
        if name in marks:
            ax.axvline(marks[name], color=COLOURS.get(name, COLOURS["deadpan"]), linewidth=3, alpha=0.6)
            place = {"ha": "center", "va": "bottom", "transform": ax.get_xaxis_transform()}
            ax.text(marks[name], 1.01, str(marks[name]), fontsize=9, **place)
        for row, column in enumerate(table):
            ax.vlines(table.index[table[column]], row - 0.36, row + 0.36, color="black", linewidth=1)
        ax.set(yticks=range(len(table.columns)), ylim=(len(table.columns) - 0.5, -0.5), xlim=(0, table.index[-1]))
        ax.set_yticklabels(table.columns, fontsize=9)
        ax.set_ylabel(name)
        ax.grid(False)
    panels[-1, 0].set_xlabel("number of test utterances of the class")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def gaps(table: pd.DataFrame, title: str, ax: Axes | None = None) -> Axes:
    """Draw differences between systems, each with the interval for what the errors may have in common.

    Args:
        table: One row per comparison; columns `gap` and, for "best", "unpaired" and "worst", `best_low`, `best_high`
            ..., in points, as `audit.difference` returns them; a pair of NaN is not drawn.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(8.2, 0.36 * len(table) + 1.9))[1]
    rows = np.arange(len(table))
    looks = {
        "worst": ("errors as far apart as can be", "#BBBBBB", 2),
        "unpaired": ("errors independent, or two test sets", COLOURS["deadpan"], 5),
        "best": ("errors as shared as can be", COLOURS["sad"], 9),
    }
    for overlap, (label, colour, width) in looks.items():
        ax.hlines(rows, table[f"{overlap}_low"], table[f"{overlap}_high"], colors=colour, linewidth=width, label=label)
    ax.plot(table["gap"], rows, "D", color="white", markeredgecolor="black", markersize=5, label="as printed")
    ax.axvline(0, color="black", linewidth=1)
    ax.set(yticks=rows, ylim=(len(table) - 0.5, -0.5), xlabel="difference (points), 95% intervals", title=title)
    ax.set_yticklabels(table.index, fontsize=9)
    ax.grid(axis="y", visible=False)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2, fontsize=9)
    return ax


def strained(
    table: pd.DataFrame,
    title: str,
    ylabel: str = "UA (%)",
    best: pd.DataFrame | None = None,
    joined: bool = True,
    line: str = "ceiling",
) -> Figure:
    """Draw how systems fare from condition to condition: a panel per kind of strain, with an interval at each dot.

    Args:
        table: One row per panel, condition and system: columns `panel`, `condition` (what is written below, in the
            order given), `system` (at most six), `value`, `low`, `high`.
        title: What to see.
        ylabel: What the values are.
        best: One row per panel and condition: columns `panel`, `condition`, `low`, `high`: between which values the
            best possible lies, drawn as a grey block; as a black line where both are the same.
        joined: Whether to join the dots of a system; for conditions that are steps of one thing.
        line: What the black line is.
    """
    panels, systems = (list(dict.fromkeys(table[name])) for name in ("panel", "system"))
    steps = {panel: list(dict.fromkeys(table.loc[table["panel"] == panel, "condition"])) for panel in panels}
    widths = [len(conditions) for conditions in steps.values()]
    size = (max(7.5, 0.75 * sum(widths) + 1.2), 4.3)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, width_ratios=widths)
    colours, forms = ("text", "audio", "both", "sad", "angry", "happy"), ("o-", "s--", "^:", "D-.", "v-", "P--")
    for ax, panel in zip(axes[0], panels, strict=True):
        if best is not None:
            _best_possible(ax, best[best["panel"] == panel], steps[panel], line)
        for number, (name, colour, form) in enumerate(zip(systems, colours, forms, strict=False)):
            here = table[(table["panel"] == panel) & (table["system"] == name)]
            places = [steps[panel].index(c) + 0.11 * (number - (len(systems) - 1) / 2) for c in here["condition"]]
            ends = np.abs(here[["low", "high"]].to_numpy() - here[["value"]].to_numpy()).T
            look = {"color": COLOURS[colour], "marker": form[0], "linestyle": form[1:] if joined else "", "zorder": 3}
            ax.errorbar(places, here["value"], ends, elinewidth=1.2, markersize=6, label=name, **look)
        ax.set(xticks=range(len(steps[panel])), xticklabels=steps[panel], ylabel=ylabel)
        ax.set_title(panel, fontweight="normal")
        ax.grid(axis="x", visible=False)
        ax.label_outer()
    shown = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), 4), fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def _best_possible(ax: Axes, best: pd.DataFrame, conditions: list[str], line: str) -> None:
    """Draw ceilings over the places of conditions: a line where one is known exactly, a block between bounds."""
    exact = best["high"] - best["low"] < 1e-9
    place = best["condition"].map(conditions.index)
    if exact.any():
        ends = place[exact] - 0.45, place[exact] + 0.45
        ax.hlines(best["low"][exact], *ends, color="black", linewidth=2.5, zorder=2, label=line)
    if not exact.all():
        height = (best["high"] - best["low"])[~exact]
        look = {"color": "#CCCCCC", "zorder": 1, "label": "the ceiling lies in here"}
        ax.bar(place[~exact], height, 0.9, best["low"][~exact], **look)


def reliability(tables: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw how often answers are right against how sure they are, a panel per system; on the line, both agree.

    Args:
        tables: Panel to rows with columns `confidence`, `right`, `low`, `high` (0 to 1) and `answers`, as
            `robustness.reliability` returns them; the more answers, the larger the dot.
        title: What to see.
    """
    figure, panels = plt.subplots(
        1, len(tables), figsize=(2.9 * len(tables) + 0.6, 3.6), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, table) in zip(panels[0], tables.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="black", linewidth=1)
        ax.vlines(table["confidence"], table["low"], table["high"], color=COLOURS["audio"], linewidth=2)
        size = 12 + 240 * table["answers"] / table["answers"].sum()
        ax.scatter(table["confidence"], table["right"], size, color=COLOURS["audio"], edgecolor="white", zorder=3)
        ax.set(xlim=(0.2, 1.03), ylim=(-0.03, 1.03), xlabel="confidence", ylabel="share right", aspect="equal")
        ax.set_title(name, fontweight="normal", fontsize=11)
        ax.label_outer()
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def zoo(table: pd.DataFrame, title: str, columns: list[str], rows: list[str]) -> Figure:
    """Write names into the cells of a grid, as many below each other as belong there.

    Args:
        table: Indexed by name; `column` and `row`, the cell of each.
        title: What to see.
        columns: From left to right; those without a name stay empty.
        rows: From top to bottom.
    """
    count = table.groupby(["row", "column"]).size()
    high = [max([1, *(count.get((row, column), 0) for column in columns)]) for row in rows]
    size = (max(7.5, 1.6 * len(columns)), 0.27 * sum(high) + 1.5)
    figure, panels = plt.subplots(len(rows), 1, figsize=size, height_ratios=[n + 0.6 for n in high], squeeze=False)
    for ax, row, most, ground in zip(panels[:, 0], rows, high, ("#FFFFFF", "#EAF3FA") * len(rows), strict=False):
        ax.set(xlim=(0, len(columns)), ylim=(most + 0.3, -0.3), xticks=[], yticks=[], facecolor=ground)
        ax.set_ylabel(fill(row, 14), fontsize=10)
        ax.vlines(range(1, len(columns)), *ax.get_ylim(), color="#999999", linewidth=0.7)
        for side in ax.spines.values():
            side.set_visible(True)
        for x, column in enumerate(columns):
            names = table.index[(table["row"] == row) & (table["column"] == column)]
            for y, name in enumerate(names):
                ax.text(x + 0.5, y + 0.5, name, ha="center", va="center", fontsize=10)
    top = panels[0, 0]
    for x, column in enumerate(columns):
        top.text((x + 0.5) / len(columns), 1.04, column, ha="center", va="bottom", transform=top.transAxes, fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize="medium")
    return figure


def cost(table: pd.DataFrame, title: str, levels: dict[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw UA with its interval against the seconds of a training, and a line of those that nobody cheaper beats.

    Args:
        table: Indexed by system; columns `seconds`, `ua`, `low`, `high` (percent; NaN where there is no interval)
            and `context`, whether it reads the dialogue.
        title: What to see.
        levels: Name to a percentage, drawn as a dashed line: ceilings.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(8.4, 0.22 * len(table) + 2.9))[1]
    cheapest = table.sort_values("seconds")
    ahead = cheapest[cheapest["ua"] > cheapest["ua"].cummax().shift(fill_value=-np.inf)]
    ax.step(
        ahead["seconds"],
        ahead["ua"],
        color="black",
        where="post",
        linewidth=2,
        zorder=2.5,
        label="nobody cheaper is better",
    )
    looks = {"reads the utterance": (False, "o", "audio"), "reads the dialogue": (True, "s", "angry")}
    for label, (context, marker, colour) in looks.items():
        some = table[table["context"] == context]
        ax.vlines(some["seconds"], some["low"], some["high"], color=COLOURS[colour], linewidth=1.5, zorder=2)
        if len(some):
            ax.plot(some["seconds"], some["ua"], marker, color=COLOURS[colour], markersize=7, label=label, zorder=3)
    ends = np.r_[table[["ua", "low", "high"]].to_numpy().ravel(), list((levels or {}).values())]
    low, high = np.nanmin(ends), np.nanmax(ends)
    ax.set(xscale="log", xlabel="seconds of one training", ylabel="UA (%)", title=title)
    ax.set_xlim(cheapest["seconds"].iloc[0] / 1.4, cheapest["seconds"].iloc[-1] * 1.4)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(low - 0.05 * (high - low) - 0.5, high + 0.08 * (high - low) + 0.5)
    near = 0.04 * np.ptp(ax.get_ylim())
    for name, value in (levels or {}).items():
        beside = "top" if any(0 < other - value < near for other in (levels or {}).values()) else "bottom"
        ax.axhline(value, color="black", linestyle="--", linewidth=1)
        ax.text(0.01, value, name, transform=ax.get_yaxis_transform(), va=beside, fontsize=9)
    _names_beside(ax, table)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=9)
    return ax


def _names_beside(ax: Axes, table: pd.DataFrame) -> None:
    """Write rank and name of each point right of the panel, with a thin line to it, so that no two names meet."""
    (bottom, top), order = ax.get_ylim(), table.sort_values("ua")
    gap = min(1 / len(order), 0.12) * (top - bottom)
    places = order["ua"].to_numpy(dtype=float).copy()
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    places[-1] = min(places[-1], top)
    for i in range(len(places) - 2, -1, -1):
        places[i] = min(places[i], places[i + 1] - gap)
    for rank, (name, point), place in zip(range(len(order), 0, -1), order.iterrows(), places, strict=True):
        spot = (point["seconds"], point["ua"])
        ax.annotate(str(rank), spot, (5, 3), textcoords="offset points", fontsize=8, zorder=4)
        ax.annotate(
            f"{rank}  {name}", spot, (1.04, place), textcoords=ax.get_yaxis_transform(), fontsize=9,
            va="center", annotation_clip=False, arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.6},
        )  # fmt: skip
