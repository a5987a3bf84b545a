from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib import systems, training
from mer_lib.features.batches import Batch, Prepared, Utterances
from mer_lib.metrics import scores
from mer_lib.model import MethodConfig, Output
from mer_lib.training import TrainingConfig, class_shares, predict, seed_everything, step, train

SHORT = TrainingConfig(epochs=3, batch=8, warm_up=2)


def small(data: Prepared, seed: int = 0, **options: object) -> nn.Module:
    """A small method for the tiny corpus, with weights drawn from `seed`."""
    torch.manual_seed(seed)
    return systems.build("method", torch.as_tensor(data.vectors.vectors), dim=8, heads=2, **options)


def fitted(data: Prepared, seed: int = 0, config: TrainingConfig = SHORT) -> training.Trained:
    return train(small(data), data.train, data.dev, config, seed)


class Constant(nn.Module):
    """Answers with four learned logits whatever it sees, and adds the losses that it is given."""

    def __init__(self, losses: Callable[[Tensor], dict[str, Tensor]] = lambda logits: {}) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(4))
        self.losses = losses

    def forward(self, batch: Batch) -> Output:
        return Output(self.logits.expand(len(batch.label), 4), losses=self.losses(self.logits))


def of_classes(labels: list[int]) -> Utterances:
    """Utterances of one frame and one word, with these labels."""
    count = len(labels)
    return Utterances(
        [f"u{i}" for i in range(count)],
        [np.zeros((1, 1))] * count,
        [np.zeros(1, dtype=int)] * count,
        [np.array([[0.0, 1.0]])] * count,
        labels,
    )


def test_the_same_seed_gives_the_same_logits_to_the_bit(data: Prepared) -> None:
    first, second = (predict(fitted(data, seed=3).system, data.dev) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_gives_other_logits(data: Prepared) -> None:
    first, second = (predict(fitted(data, seed=s).system, data.dev) for s in (3, 4))
    assert not np.allclose(first, second, atol=1e-4)


def test_seeding_fixes_weights_and_order_together() -> None:
    draws = []
    for _ in range(2):
        order = seed_everything(5)
        draws.append((torch.rand(3), torch.rand(3, generator=order)))
    torch.testing.assert_close(draws[0], draws[1], atol=0, rtol=0)


def test_training_learns_a_separable_corpus(data: Prepared) -> None:
    result = train(
        small(data, encoder="gru"),
        data.train,
        data.dev,
        TrainingConfig(epochs=12, batch=8, rate=0.01, warm_up=10, average=0.8),
    )
    assert result.history[-1]["task"] < result.history[0]["task"] / 2
    found = scores(predict(result.system, data.test), data.test.labels.numpy(), result.prior)
    assert found["wa"] > 80


def test_the_history_has_a_row_per_epoch_with_every_loss_and_the_dev_scores(data: Prepared) -> None:
    result = fitted(data)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    for row in result.history:
        assert set(row) == {"epoch", "task", "similarity", "difference", "unimodal", "dev_wa", "dev_ua", "dev_f1"}
        assert all(np.isfinite(value) for value in row.values())
    assert result.seconds > 0


def test_the_history_averages_losses_over_utterances_not_over_batches() -> None:
    # Batches of 4 and 1 with a loss of 1: a mean over batches would also be 1, a sum over utterances 5.
    data = of_classes([0, 1, 2, 3, 0])
    system = Constant(lambda logits: {"one": logits.sum() * 0 + 1.0})
    result = train(system, data, data, TrainingConfig(epochs=1, batch=4, rate=1e-9))
    assert result.history[0]["one"] == pytest.approx(1, abs=1e-6)
    assert result.history[0]["task"] == pytest.approx(np.log(4), abs=1e-5)


@pytest.mark.parametrize("choose_by", ["ua", "f1"])
def test_the_weights_of_the_best_epoch_on_dev_are_kept(
    data: Prepared, monkeypatch: pytest.MonkeyPatch, choose_by: str
) -> None:
    seen, marks = [], iter([50.0, 70.0, 60.0, 70.0])

    def watched(system: nn.Module, split: Utterances, *rest: object) -> np.ndarray:
        seen.append(predict(system, split, *rest))
        return seen[-1]

    def marked(*_: object) -> dict[str, float]:
        mark = next(marks)
        return {"wa": 0.0, "ua": 0.0, "f1": 0.0} | {choose_by: mark}

    monkeypatch.setattr(training, "predict", watched)
    monkeypatch.setattr(training, "scores", marked)
    result = fitted(data, config=TrainingConfig(epochs=4, batch=8, choose_by=choose_by))
    assert [row[f"dev_{choose_by}"] for row in result.history] == [50, 70, 60, 70]
    kept = predict(result.system, data.dev)
    assert np.array_equal(kept, seen[1])
    assert not np.array_equal(kept, seen[2])
    assert not np.array_equal(kept, seen[3])


def test_the_kept_weights_score_on_dev_what_the_history_says(data: Prepared) -> None:
    result = fitted(data)
    found = scores(predict(result.system, data.dev), data.dev.labels.numpy(), result.prior)
    assert found["ua"] == pytest.approx(max(row["dev_ua"] for row in result.history))


def test_training_is_never_given_the_test_split(data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(inspect.signature(train).parameters) == ["system", "data", "dev", "config", "seed", "watch"]
    touched, batch = set(), Utterances.batch

    def watched(self: Utterances, rows: list[int], *rest: object) -> Batch:
        touched.update(self.ids[row] for row in rows)
        return batch(self, rows, *rest)

    monkeypatch.setattr(Utterances, "batch", watched)
    fitted(data)
    assert touched == {*data.train.ids, *data.dev.ids}


def test_every_epoch_goes_through_all_in_a_new_order_that_the_seed_draws() -> None:
    def orders(seed: int) -> list[list[int]]:
        seen: list[int] = []

        class Watching(Constant):
            def forward(self, batch: Batch) -> Output:
                if self.training:
                    seen.extend(batch.audio[:, 0, 0].int().tolist())
                return super().forward(batch)

        data = of_classes([0, 1, 2, 3] * 3)
        data.audio = [torch.full((1, 1), float(i)) for i in range(12)]
        train(Watching(), data, data_of_all(), TrainingConfig(epochs=2, batch=5), seed)
        return [seen[:12], seen[12:]]

    first, second = orders(0)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert first != list(range(12))
    assert orders(0) == [first, second]
    assert orders(1)[0] != first


def test_no_weight_is_learned_from_dev(data: Prepared) -> None:
    first, second = (
        train(small(data), data.train, dev, TrainingConfig(epochs=1, batch=8)) for dev in (data.dev, data.test)
    )
    assert np.array_equal(predict(first.system, data.dev), predict(second.system, data.dev))


def test_class_shares_are_counted_over_all_four_classes() -> None:
    assert class_shares(of_classes([0, 0, 0, 2])).tolist() == [0.75, 0, 0.25, 0]


def test_the_prior_is_that_of_the_training_split(data: Prepared) -> None:
    result = train(Constant(), of_classes([0, 0, 0, 1, 2, 3]), of_classes([0, 1, 2, 3]), SHORT)
    assert result.prior.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])


def test_even_weights_count_every_class_the_same() -> None:
    # A confident constant "happy": its cross-entropy is ~0 on happy and ~10 elsewhere.
    system = Constant()
    system.logits.data[0] = 10.0
    data = of_classes([0] * 6 + [1, 3])
    tails = {
        balanced: train(system, data, data_of_all(), TrainingConfig(epochs=1, rate=1e-9, balanced=balanced)).history[0][
            "task"
        ]
        for balanced in (False, True)
    }
    other = float(-F.log_softmax(system.logits.detach(), 0)[1])
    assert tails[False] == pytest.approx(other * 2 / 8, rel=1e-3)
    assert tails[True] == pytest.approx(other * 2 / 3, rel=1e-3)


def test_logits_of_even_classes_are_not_corrected_for_the_prior_again() -> None:
    config = TrainingConfig(epochs=1, balanced=True)
    result = train(Constant(), of_classes([0, 0, 0, 1, 2, 3]), data_of_all(), config)
    assert result.prior.tolist() == [1 / 4] * 4


def data_of_all() -> Utterances:
    return of_classes([0, 1, 2, 3])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_training_and_says_where(value: float) -> None:
    system = Constant(lambda logits: {"bad": logits.sum() * 0 + value})
    with pytest.raises(FloatingPointError, match=rf"The loss is {value} in epoch 1\. Lower the learning rate"):
        train(system, data_of_all(), data_of_all(), SHORT)


def test_a_loss_that_breaks_later_names_its_epoch() -> None:
    calls = []

    def losses(logits: Tensor) -> dict[str, Tensor]:
        calls.append(torch.is_grad_enabled())
        return {"bad": logits.sum() * (0 if sum(calls) < 3 else float("nan"))}

    with pytest.raises(FloatingPointError, match=r"The loss is nan in epoch 3\."):
        train(Constant(losses), data_of_all(), data_of_all(), TrainingConfig(epochs=5))


@pytest.mark.parametrize(("steepness", "length"), [(1000.0, 1.0), (0.01, 0.02)])
def test_a_gradient_is_cut_to_the_longest_that_is_allowed(steepness: float, length: float) -> None:
    system = Constant()
    optimiser = torch.optim.SGD(system.parameters(), lr=1.0)
    step(optimiser, steepness * system.logits.sum(), system, 1.0, "epoch 1")
    assert float(system.logits.detach().norm()) == pytest.approx(length, rel=1e-4)  # four coordinates: 2 * steepness


def test_a_step_forgets_the_gradients_of_the_one_before() -> None:
    system = Constant()
    optimiser = torch.optim.SGD(system.parameters(), lr=1.0)
    for _ in range(2):
        step(optimiser, 0.1 * system.logits[0], system, 1.0, "epoch 1")
    assert float(system.logits[0].detach()) == pytest.approx(-0.2)


def test_predictions_come_in_order_whatever_the_batch_and_without_dropout(data: Prepared) -> None:
    system = small(data, dropout=0.5).train()
    whole = predict(system, data.dev)
    assert whole.shape == (16, 4)
    np.testing.assert_allclose(predict(system, data.dev, batch=3), whole, atol=1e-5)
    np.testing.assert_allclose(predict(system, data.dev, batch=1), whole, atol=1e-5)


def test_a_last_batch_of_one_utterance_is_trained_on(data: Prepared) -> None:
    result = train(small(data), data.train, data.dev, TrainingConfig(epochs=1, batch=31))
    assert all(torch.isfinite(p).all() for p in result.system.parameters())


@pytest.mark.parametrize("options", [{"modalities": ("audio",)}, {"modalities": ("text",)}, {"beta": 0.0}, {}], ids=str)
def test_every_row_of_table_3_can_be_trained(data: Prepared, options: dict[str, object]) -> None:
    result = train(small(data, **options), data.train, data.dev, TrainingConfig(epochs=1))
    assert predict(result.system, data.dev).shape == (16, 4)
    assert ("unimodal" in result.history[0]) == (options == {})


@pytest.mark.parametrize(("patience", "epochs", "best"), [(2, 4, 70), (3, 6, 80), (6, 6, 80)])
def test_a_training_ends_when_dev_has_not_improved_for_long(
    data: Prepared, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int, best: int
) -> None:
    marks = iter([50.0, 70.0, 60.0, 70.0, 80.0, 10.0])
    monkeypatch.setattr(training, "scores", lambda *_: {"wa": 0.0, "ua": next(marks), "f1": 0.0})
    result = fitted(data, config=TrainingConfig(epochs=6, batch=8, patience=patience))
    assert len(result.history) == epochs
    assert max(row["dev_ua"] for row in result.history) == best


def test_the_rate_grows_from_zero_and_then_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, take = [], training.step

    def watched(optimiser: torch.optim.Optimizer, *rest: object) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        take(optimiser, *rest)

    monkeypatch.setattr(training, "step", watched)
    train(Constant(), data_of_all(), data_of_all(), TrainingConfig(epochs=3, batch=2, rate=0.4, warm_up=4))
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_configurations_are_compared_by_value() -> None:
    assert TrainingConfig(rate=0.1) == TrainingConfig(rate=0.1) != TrainingConfig(rate=0.2)
    assert MethodConfig() == MethodConfig()
    with pytest.raises(AttributeError):
        TrainingConfig().rate = 1.0
