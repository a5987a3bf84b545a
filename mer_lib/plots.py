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
from matplotlib.patches import FancyBboxPatch

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features import FEATURES, FRAME_SECONDS, STEP_SECONDS, frames

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
        ax.annotate(f"{mean:.1f}", (mean, row), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
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
    ax.legend(*both, loc="center right")
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
    ax.set(xlim=(0, 100), ylim=(0, 104), title="Five parts, each with a switch")
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
        box(x, 62, f"unique $U_{name[0]}$", colour, "alpha", 17)
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
    box(50, 62, "public $P_a, P_t$", both, "alpha", 19)
    ax.text(50, 83, "$\\mathcal{L}_{sp}$:\npublics alike,\nthe rest apart", ha="center", va="center", fontsize=9)
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
    ax.legend(loc="center right")
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
    """Draw the emotion of each turn as a coloured square with its first letter, one row per dialogue.

    Args:
        table: A corpus's table.
        title: What to see.
        most: Number of dialogues, the first ones of the table.
        ax: Where to draw; by default a new figure.
    """
    names = table["dialogue"].unique()[:most]
    ax = ax or plt.subplots(figsize=(7.5, 0.3 * len(names) + 0.9))[1]
    longest = 1
    for row, name in enumerate(names):
        emotions = table[table["dialogue"] == name].sort_values("turn")["emotion"]
        longest = max(longest, len(emotions))
        for place, emotion in enumerate(emotions):
            ax.barh(row, 0.94, left=place, height=0.86, color=COLOURS[emotion])
            ink = "black" if emotion == "happy" else "white"  # white on orange is hard to read
            ax.text(place + 0.47, row, emotion[0].upper(), ha="center", va="center", color=ink, fontsize=9)
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
    order = [name for name in (*EMOTIONS, "deadpan") if name in set(table[by])]
    figure, panels = plt.subplots(1, len(columns), figsize=(10, 3.4), sharey=True, squeeze=False)
    for ax, column in zip(panels[0], columns, strict=True):
        for row, name in enumerate(order):
            values = table.loc[table[by] == name, column]
            low, left, middle, right, high = values.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
            ax.hlines(row, low, high, color=COLOURS[name], linewidth=2)
            ax.hlines(row, left, right, color=COLOURS[name], linewidth=12)
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
    sns.heatmap(apart, cmap="PuOr_r", vmin=-most, vmax=most, xticklabels=False, yticklabels=1, cbar_kws=bar, ax=ax)
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
