from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from mer_lib import ceilings as c
from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet.process import PROCESSES, Process

DUET_I, DUET_M, DUET_X = (PROCESSES[name] for name in ("duet-i", "duet-m", "duet-x"))
EVEN, SURE = (0.25,) * 4, (1.0,) * 4
KNOBS = [
    replace(DUET_I, irony=0.15),
    replace(DUET_I, coupling=0.7, irony=0.1, label_noise=0.1),
    replace(DUET_M, focus=0.4, clauses=((2, 0.6), (3, 0.4))),
    replace(DUET_M, irony=1.0),
    replace(DUET_X, clauses=((2, 1.0),), label_noise=0.2),
]


@pytest.fixture(scope="module")
def shipped() -> dict[str, pd.DataFrame]:
    return {name: c.ceilings(process) for name, process in PROCESSES.items()}


def focus_only(clauses: int) -> Process:
    return Process("toy", EVEN, SURE, SURE, sessions=5, focus=1.0, clauses=((clauses, 1.0),))


def value(weight: np.ndarray, answers: np.ndarray) -> float:
    return np.take_along_axis(weight, answers[..., None], axis=-1).sum()


def symbols(table: pd.DataFrame) -> dict[str, list[str]]:
    table = table.assign(clauses=table["says"].str.count(r"\|"))
    audio, text = ["voice", "stressed", "clauses"], ["says"]
    return {"audio": audio, "text": text, "both": audio + text}


@pytest.mark.parametrize("process", [DUET_I, DUET_M, DUET_X, *KNOBS])
def test_one_channel_and_both_agree_with_counting_a_large_sample(process):
    joint = process.joint()
    joint["clauses"] = joint["says"].str.count(r"\|")
    rng = np.random.default_rng(1)
    sample = joint.iloc[rng.choice(len(joint), 100_000, p=joint["probability"] / joint["probability"].sum())]
    sample = sample.reset_index(drop=True)
    exact = c.ceilings(process, dialogues=50)
    prior = joint.groupby("emotion")["probability"].sum()
    for system, keys in symbols(joint).items():
        table = joint.pivot_table("probability", keys, "emotion", aggfunc="sum", fill_value=0)
        for goal, scores in (("accuracy", table), ("mean_recall", table / prior)):
            answer = scores.idxmax(axis=1).rename("answer")
            right = sample.join(answer, on=keys).eval("answer == emotion")
            found = right.mean() if goal == "accuracy" else right.groupby(sample["emotion"]).mean().mean()
            assert found == pytest.approx(exact.loc[system, goal], abs=4.5 * 0.5 / np.sqrt(100_000 * 4 * prior.min()))


@pytest.mark.parametrize("columns", [2, 3])
def test_best_additive_agrees_with_trying_every_table_of_answers(columns):
    rng = np.random.default_rng(columns)
    for _ in range(4):
        weight = rng.random((2, columns, 4)) ** 3
        tables = np.array(list(product(range(4), repeat=2 * columns))).reshape(-1, 2, columns)
        gains = np.array([value(weight, table) for table in tables])
        first = next(i for i in np.argsort(-gains) if is_additive(tables[i]))
        assert value(weight, c.best_additive(weight)) == pytest.approx(gains[first], abs=1e-9)


def is_additive(answers: np.ndarray) -> bool:
    """Whether scores f(i, y) + g(j, y) exist that give these answers, by a linear program over f and g."""
    rows, columns = answers.shape
    constraints = []
    for (i, j), y in np.ndenumerate(answers):
        for other in set(range(4)) - {int(y)}:
            line = np.zeros((rows + columns, 4))
            line[[i, rows + j], y] -= 1
            line[[i, rows + j], other] += 1
            constraints.append(line.ravel())
    size = len(constraints[0])
    return linprog(np.zeros(size), constraints, -np.ones(len(constraints)), bounds=(None, None)).status == 0


@pytest.mark.parametrize("shape", [(5, 4), (12, 2), (4, 3)])
def test_best_additive_agrees_with_a_mixed_integer_program(shape):
    weight = np.random.default_rng(shape[1]).dirichlet(np.full(4, 0.3), size=shape)
    answers = c.best_additive(weight)
    assert is_additive(answers)
    assert value(weight, answers) == pytest.approx(by_integer_program(weight), abs=1e-6)


def by_integer_program(weight: np.ndarray, big: float = 60.0) -> float:
    rows, columns, _ = weight.shape
    cells = rows * columns * 4
    size = cells + (rows + columns) * 4
    lines, lower = [], []
    for i, j, y in np.ndindex(weight.shape):
        for other in set(range(4)) - {y}:
            line = np.zeros(size)
            f, g = cells + 4 * i, cells + 4 * (rows + j)
            line[[f + y, g + y]], line[[f + other, g + other]] = 1, -1
            line[(i * columns + j) * 4 + y] = -big
            lines.append(line)
            lower.append(1 - big)
    one_answer = np.hstack([np.kron(np.eye(rows * columns), np.ones(4)), np.zeros((rows * columns, size - cells))])
    found = milp(
        np.concatenate([-weight.ravel(), np.zeros(size - cells)]),
        integrality=np.arange(size) < cells,
        bounds=Bounds(0, np.where(np.arange(size) < cells, 1, big / 4)),
        constraints=[LinearConstraint(lines, lower), LinearConstraint(one_answer, 1, 1)],
        options={"mip_rel_gap": 0},
    )
    return -found.fun


def test_irony_ceiling_of_additive_fusion_agrees_with_a_mixed_integer_program(shipped):
    ordinary = c.cells(replace(DUET_X, focus=0.0, irony=1 / 3))
    weight = np.zeros((5, 4, 4))
    weight[ordinary.audio, ordinary.text] = ordinary.p
    proven = by_integer_program(weight)
    assert proven == pytest.approx(0.865, abs=1e-9)
    focus = {2: 0.5 * 0.72125, 3: 0.3 * 0.645, 4: 0.2 * 0.58638020833}
    assert shipped["duet-x"].loc["additive", "accuracy"] == pytest.approx((proven + sum(focus.values())) / 2, abs=1e-9)


@pytest.mark.parametrize("name", ["duet-i", "duet-m"])
@pytest.mark.parametrize("goal", ["accuracy", "mean_recall"])
def test_with_independent_cues_late_and_additive_fusion_reach_the_joint_ceiling(shipped, name, goal):
    table = shipped[name]
    assert table.loc["additive", goal] == pytest.approx(table.loc["both", goal], abs=1e-12)
    assert table.loc["late", goal] == pytest.approx(table.loc["both", goal], abs=1e-12)


@pytest.mark.parametrize(("clauses", "additive"), [(2, 3 / 4), (3, 2 / 3), (4, 58 / 96)])
def test_sure_focus_leaves_additive_fusion_the_longest_rising_run_of_the_clauses(clauses, additive):
    # Two clauses: one of the two orders of each pair of emotions. In general f(s, y) = s y answers a longest
    # increasing subsequence of the clauses; the search proves that nothing does better.
    table = c.ceilings(focus_only(clauses), dialogues=50)
    assert table.loc["additive", "accuracy"] == pytest.approx(additive, abs=1e-12)
    assert table.loc["text", "accuracy"] == pytest.approx(1 / clauses, abs=1e-12)
    assert table.loc["audio", "accuracy"] == pytest.approx(1 / 4, abs=1e-12)
    assert table.loc["both", "accuracy"] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("process", KNOBS)
@pytest.mark.parametrize("goal", ["accuracy", "mean_recall"])
def test_more_freedom_and_more_knowledge_never_lower_a_ceiling(process, goal):
    column = c.ceilings(process, dialogues=400)[goal]
    for less, more in [
        ("audio", "late"), ("text", "late"), ("late", "additive"), ("additive", "both"), ("both", "both+scenario"),
        ("text", "text+scenario"), ("scenario", "text+scenario"), ("text+scenario", "both+scenario"),
    ]:  # fmt: skip
        assert column[less] <= column[more] + 1e-9, (less, more)
    assert column["both+past"] <= column["both+context"] + 0.02


def test_duet_x_caps_late_fusion_far_below_additive_and_additive_far_below_both(shipped):
    accuracy = shipped["duet-x"]["accuracy"]
    assert accuracy["late"] == pytest.approx(accuracy["text"], abs=1e-12)
    assert accuracy["late"] < 0.52 < 0.76 < accuracy["additive"] < 0.77 < 0.94 < accuracy["both"]


@pytest.mark.parametrize("process", [replace(DUET_I, irony=0.15), replace(DUET_M, coupling=0.5)])
def test_best_late_weight_is_not_beaten_by_any_on_a_grid(process):
    both = c.cells(process)
    joint = both.p
    audio, text = (
        pd.DataFrame(joint).groupby(symbol).transform("sum").to_numpy() for symbol in (both.audio, both.text)
    )
    audio, text = (np.log(p / p.sum(axis=1, keepdims=True)) for p in (audio, text))
    reached = []
    for w in np.linspace(0, 1, 2001):
        score = w * audio + (1 - w) * text - min(w, 1 - w) * np.log(joint.sum(axis=0))
        reached.append(joint[np.arange(len(joint)), score.argmax(axis=1)].sum())
    exact = joint[np.arange(len(joint)), c.late_rule(both, joint)].sum()
    assert max(reached) <= exact + 1e-12
    assert max(reached) == pytest.approx(exact, abs=1e-3)


def test_coupling_changes_what_both_channels_tell_but_no_single_channel():
    free, coupled = (c.ceilings(replace(DUET_I, coupling=k), dialogues=50) for k in (0.0, 0.8))
    for system in ("audio", "text", "scenario", "text+scenario"):
        assert coupled.loc[system, "accuracy"] == pytest.approx(free.loc[system, "accuracy"], abs=1e-12)
    assert abs(coupled.loc["both", "accuracy"] - free.loc["both", "accuracy"]) > 0.001


def test_label_noise_caps_the_joint_ceiling_at_the_labels_that_are_left_right():
    noisy = c.ceilings(replace(DUET_X, clauses=((3, 1.0),), label_noise=0.1), dialogues=50)
    assert noisy.loc["both", "accuracy"] == pytest.approx(0.95 * 0.9 + 0.05 * 0.1 / 3, abs=1e-12)


def test_trial_figures_of_single_channels_are_met(shipped):
    for name, system, accuracy, recall in [
        ("duet-i", "audio", 0.679, 0.695), ("duet-i", "text", 0.806, 0.805), ("duet-m", "text", 0.786, 0.795),
    ]:  # fmt: skip
        assert shipped[name].loc[system, ["accuracy", "mean_recall"]].tolist() == pytest.approx(
            [accuracy, recall], abs=6e-4
        )


def test_without_inertia_and_leak_context_and_scenario_tell_nothing():
    process = replace(DUET_I, inertia=0.0, leak=0.0)
    table = c.ceilings(process, dialogues=4000)
    for goal in ("accuracy", "mean_recall"):
        both = table.loc["both", goal]
        assert table.loc["both+scenario", goal] == pytest.approx(both, abs=1e-12)
        for system in ("both+past", "both+context"):
            assert table.loc[system, goal] == pytest.approx(both, abs=4 * table.loc[system, f"{goal}_se"])
    assert table.loc["scenario", "accuracy"] == pytest.approx(max(DUET_I.shares), abs=1e-12)
    turns = c._simulate(process, 5, seed=3)
    alone = c.cells(process).p / c.cells(process).p.sum(axis=1, keepdims=True)
    real = turns.cell >= 0
    assert np.allclose(c._posterior(process, turns, True)[real], alone[turns.cell[real]])


@pytest.mark.parametrize("process", [DUET_X, replace(DUET_I, label_noise=0.2, irony=0.1)])
def test_context_posterior_agrees_with_summing_over_all_paths(process):
    cue, noise = c._clean(process)
    scenarios = process.scenarios()
    cell = np.random.default_rng(0).integers(len(cue), size=4)
    whole, past = (c._posterior(process, c._Turns(cell[None]), future)[0] for future in (True, False))
    for seen, at, found in [(4, 0, whole[0]), (4, 2, whole[2]), (3, 2, past[2]), (1, 0, past[0])]:
        total = np.zeros(4)
        for _, row in scenarios.iterrows():
            given = row[list(EMOTIONS)].to_numpy(dtype=float)
            for path in product(range(4), repeat=seen):
                p = row["probability"] * given[path[0]] * np.prod(cue[cell[:seen], path])
                for last, now in pairwise(path):
                    p *= process.inertia * (last == now) + (1 - process.inertia) * given[now]
                total[path[at]] += p
        assert np.allclose(found, total / total.sum() @ noise, atol=1e-10)


def test_planted_rules_reach_their_ceilings_on_a_large_drawn_corpus():
    drawn = DUET_I.draw(4000, seed=4)
    table = c.ceilings(DUET_I, drawn)
    off = table["accuracy_drawn"] - table["accuracy"]
    spread = np.sqrt(table["accuracy"] * (1 - table["accuracy"]) / 4000)
    dependent = pd.Series(1.0, index=table.index).mask(table.index.str.contains("scenario|context|past"), 2.5)
    assert (off.abs() < 4 * spread * dependent).all()
    assert (table["mean_recall_drawn"] - table["mean_recall"]).abs().max() < 0.03


def test_the_order_of_the_rows_of_a_table_does_not_matter():
    drawn = DUET_M.draw(300, seed=2)
    tables = [c.ceilings(DUET_M, rows, dialogues=50) for rows in (drawn, drawn.sample(frac=1, random_state=0))]
    pd.testing.assert_frame_equal(*tables)


def test_drawn_columns_count_the_rows_where_the_rule_is_right():
    drawn = DUET_X.draw(500, seed=1)
    table = c.ceilings(DUET_X, drawn, dialogues=50)
    posterior = DUET_X.joint().pivot_table(index="says", columns="emotion", values="probability", aggfunc="sum")
    answer = posterior[list(EMOTIONS)].round(12).idxmax(axis=1)
    right = drawn["says"].map(answer) == drawn["emotion"]
    assert table.loc["text", "accuracy_drawn"] == pytest.approx(right.mean(), abs=1e-12)


def test_a_table_of_another_process_is_refused_with_a_sentence():
    drawn = DUET_X.draw(200)
    with pytest.raises(ValueError, match="duet-i cannot produce"):
        c.ceilings(DUET_I, drawn, dialogues=10)
    with pytest.raises(ValueError, match="lacks the planted columns \\['voice'\\]"):
        c.ceilings(DUET_X, drawn.drop(columns="voice"), dialogues=10)
    with pytest.raises(ValueError, match="no scenario 'dinner'"):
        c.ceilings(DUET_X, drawn.assign(scenario="dinner"), dialogues=10)
    with pytest.raises(ValueError, match="no share"):
        c.ceilings(replace(DUET_I, shares=(0.5, 0.5, 0.0, 0.0)), dialogues=10)
    with pytest.raises(ValueError, match="no channel 'video'"):
        c.bayes_confusion(DUET_X, "video")
    with pytest.raises(ValueError, match="no goal 'f1'"):
        c.bayes_confusion(DUET_X, "both", "f1")


@pytest.mark.parametrize("channel", ["audio", "text", "both"])
def test_confusion_of_the_best_rule_has_the_recalls_of_the_table(shipped, channel):
    for name, process in PROCESSES.items():
        confusion = c.bayes_confusion(process, channel)
        assert np.allclose(confusion.sum(axis=1), 1)
        recalls = shipped[name].loc[channel, [f"recall_{e}" for e in EMOTIONS]].to_numpy(dtype=float)
        assert np.allclose(np.diag(confusion), recalls)
        assert np.diag(confusion) @ process.shares == pytest.approx(shipped[name].loc[channel, "accuracy"])


@pytest.mark.parametrize("process", [DUET_I, DUET_M, DUET_X, KNOBS[1]])
@pytest.mark.parametrize("goal", ["accuracy", "mean_recall"])
def test_confusion_of_the_best_rule_agrees_with_counting_its_answers_in_a_large_sample(process, goal):
    joint = process.joint()
    rng = np.random.default_rng(2)
    sample = joint.iloc[rng.choice(len(joint), 100_000, p=joint["probability"] / joint["probability"].sum())]
    sample = sample.reset_index(drop=True)
    keys = ["voice", "stressed", "says"]
    table = joint.pivot_table("probability", keys, "emotion", aggfunc="sum", fill_value=0)
    scores = table if goal == "accuracy" else table / joint.groupby("emotion")["probability"].sum()
    counted = pd.crosstab(sample["emotion"], sample.join(scores.idxmax(axis=1).rename("answer"), on=keys)["answer"])
    counted = counted.reindex(index=EMOTIONS, columns=EMOTIONS, fill_value=0).to_numpy()
    total = counted.sum(axis=1, keepdims=True)
    exact = c.bayes_confusion(process, "both", goal)
    assert np.all(np.abs(counted / total - exact) < 4.5 * np.sqrt(exact * (1 - exact) / total) + 1e-9)


@pytest.mark.parametrize("name", PROCESSES)
def test_recalls_of_the_best_rule_for_mean_recall_average_to_the_ceiling(shipped, name):
    confusion = c.bayes_confusion(PROCESSES[name], "both", "mean_recall")
    assert np.diag(confusion).mean() == pytest.approx(shipped[name].loc["both", "mean_recall"])


def gate(function) -> np.ndarray:
    joint = np.zeros((4, 2, 2))
    for a, t in product((0, 1), repeat=2):
        joint[function(a, t), a, t] += 0.25
    return joint


COPY = np.zeros((2, 2, 2))
COPY[0, 0, 0] = COPY[1, 1, 1] = 0.5


@pytest.mark.parametrize(
    ("joint", "wb", "broja"),
    [
        (gate(lambda a, t: a ^ t), (0, 0, 0, 1), (0, 0, 0, 1)),
        (COPY, (1, 0, 0, 0), (1, 0, 0, 0)),
        (gate(lambda a, t: a & t), (0.311278, 0, 0, 0.5), (0.311278, 0, 0, 0.5)),
        (gate(lambda a, t: 2 * a + t), (1, 0, 0, 1), (0, 1, 1, 0)),
        (gate(lambda a, t: a), (0, 1, 0, 0), (0, 1, 0, 0)),
    ],
    ids=["xor", "copy", "and", "both", "audio"],
)
def test_decompositions_of_known_toys(joint, wb, broja):
    parts = c.decompose(joint)
    for name, known in (("wb", wb), ("broja", broja)):
        found = [parts[f"{name} {part}"] for part in ("redundant", "unique A", "unique T", "synergy")]
        assert found == pytest.approx(known, abs=1e-6)


def test_broja_agrees_with_a_fine_grid_over_all_tables_with_the_same_margins():
    joint = np.random.default_rng(5).dirichlet(np.ones(8)).reshape(2, 2, 2)
    swap = np.array([[1.0, -1.0], [-1.0, 1.0]])
    lowest = [max(-p[0, 0], -p[1, 1]) for p in joint]
    highest = [min(p[0, 1], p[1, 0]) for p in joint]
    steps = [np.linspace(low, high, 801) for low, high in zip(lowest, highest, strict=True)]
    first, second = (p + swap * step[:, None, None] for p, step in zip(joint, steps, strict=True))
    q = np.stack(np.broadcast_arrays(first[:, None], second[None]), axis=2)  # (step, step, y, a, t)
    q = np.maximum(q, 0)
    total = q.sum(axis=2, keepdims=True)
    given_both = -(q * np.log2(np.where(q > 0, q / np.where(total > 0, total, 1), 1))).sum(axis=(2, 3, 4))
    text = joint.sum(axis=1)
    least = c._entropy(text) - c._entropy(text.sum(axis=0)) - given_both.max()
    assert c.decompose(joint)["broja unique A"] == pytest.approx(least, abs=1e-5)


@pytest.mark.parametrize("process", [DUET_I, DUET_X, KNOBS[1]])
def test_parts_add_up_to_the_mutual_informations(process):
    parts = c.information(process)
    for name in ("wb", "broja"):
        shared, audio, text, synergy = (parts[f"{name} {p}"] for p in ("redundant", "unique A", "unique T", "synergy"))
        assert shared + audio == pytest.approx(parts["I(Y;A)"], abs=1e-9)
        assert shared + text == pytest.approx(parts["I(Y;T)"], abs=1e-9)
        assert shared + audio + text + synergy == pytest.approx(parts["I(Y;A,T)"], abs=1e-9)
        assert min(shared, audio, text, synergy) > -1e-6
    assert parts["broja synergy"] <= parts["wb synergy"] + 1e-6


def test_symbols_that_say_the_same_leave_the_decomposition_unchanged():
    joint = np.random.default_rng(2).dirichlet(np.ones(36)).reshape(4, 3, 3)
    split = np.concatenate([joint[:, :1] * 0.3, joint[:, :1] * 0.7, joint[:, 1:]], axis=1)
    whole, parts = c.decompose(joint), c.decompose(split)
    assert all(parts[part] == pytest.approx(bits, abs=1e-6) for part, bits in whole.items())


def test_independent_cues_have_synergy_though_they_need_no_interaction(shipped):
    parts = c.information(DUET_I)
    assert parts["wb synergy"] > 0.25
    assert parts["wb synergy"] > parts["broja synergy"] + 0.1
    assert shipped["duet-i"].loc["additive", "accuracy"] == pytest.approx(shipped["duet-i"].loc["both", "accuracy"])
