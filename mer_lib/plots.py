"""Every figure of the book, one function each. A figure has one message, said in its title.

Colours are Okabe & Ito's (2008), told apart by colour-blind readers; markers and labels repeat what
colours say. Figures keep a white ground of their own, so they read the same in dark mode.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features.audio import FEATURES, FRAME_SECONDS, frames

COLOURS = {
    "happy": "#E69F00", "sad": "#0072B2", "neutral": "#7F7F7F", "angry": "#D55E00",
    "audio": "#009E73", "text": "#CC79A7", "both": "#000000", "deadpan": "#56B4E9",
}  # fmt: skip
MARKERS = {"A": "o", "T": "s", "A+T (w/o L_ua)": "^", "A+T": "D"}


def use_style() -> None:
    """Set the look of all figures: large type, thin grid, white ground, 110 dots per inch."""
    sns.set_theme(context="notebook", style="whitegrid", font_scale=1.05)
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
    seconds = np.arange(len(table)) * FRAME_SECONDS
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
        ends = np.cumsum([len(c) for c in clauses]) / sum(len(c) for c in clauses) * seconds[-1]
        for start, end, clause in zip([0, *ends[:-1]], ends, clauses, strict=True):
            top.text((start + end) / 2, 1.02, clause, ha="center", va="bottom", fontsize=8, transform=top.get_xaxis_transform())
        top.set_title(title, pad=18)
    return figure


def confusion(matrix: np.ndarray, title: str, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix, rows = truth, in percent of each row.

    Args:
        matrix: (4, 4), rows sum to 1.
        title: What to see.
        ax: Where to draw; by default a new figure.
    """
    ax = ax or plt.subplots(figsize=(4.2, 3.8))[1]
    sns.heatmap(
        100 * matrix, annot=True, fmt=".0f", cmap="cividis", vmin=0, vmax=100, square=True, cbar=False, ax=ax,
        xticklabels=EMOTIONS, yticklabels=EMOTIONS,
    )  # fmt: skip
    ax.set(xlabel="decided", ylabel="true", title=title)
    return ax


def intervals(table: pd.DataFrame, ceilings: dict[str, float], title: str, score: str = "ua", ax: Axes | None = None) -> Axes:
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
        ax.annotate(f"{mean:.1f}", (mean, row), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
    ax.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.4, -0.7), xlabel=f"{score.upper()} (%)", title=title)
    return ax


def history(rows: list[dict[str, float]], title: str, losses: tuple[str, ...] = ("task",), ax: Axes | None = None) -> Axes:
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
    ax.legend(*[a + b for a, b in zip(ax.get_legend_handles_labels(), right.get_legend_handles_labels(), strict=True)])
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
    edges = np.arange(weights.shape[1] + 1) * FRAME_SECONDS
    ax.pcolormesh(edges, np.arange(len(words) + 1), weights, cmap="cividis")
    ax.set(yticks=np.arange(len(words)) + 0.5, yticklabels=words, ylim=(len(words), 0), xlabel="seconds", title=title)
    ax.grid(False)
    return ax
