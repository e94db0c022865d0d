"""The training loop: what moves, what does not, what is kept, and that it repeats itself."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from finetuning import class_scoring, dropout, training
from finetuning.config import Strategy, Training
from finetuning.devices import Device
from finetuning.history import Epoch
from finetuning.models import build, layer_groups
from finetuning.probing import compute_features, fit_probe, install_probe, score_logits
from finetuning.problem import Checked
from finetuning.strategies import tabulate
from finetuning.tokenization import encode, load_tokenizer
from finetuning.training import train

CPU = Device("cpu", "CPU", "fp32")
GOOD, BAD = ["good", "great", "fine", "superb"], ["bad", "poor", "awful", "dull"]
OTHERS = ["film", "plot", "cast", "music", "story", "book", "the", "a", "it", "was"]


def measure(model, rows, device, title):
    """Mean loss and accuracy, as the loop's validation finds them."""
    checked = class_scoring.check(model, rows, device, title)
    return checked.loss, checked.accuracy


def show(loss, accuracy):
    """What validation of a classifier shows."""
    return Checked(loss, accuracy, accuracy)


def settings(**fields):
    """Training settings as the pipeline file would give them."""
    usual = {"batch_size": 16, "learning_rate": 3e-3, "early_stopping": None}
    return Training.model_validate({**usual, **fields})


def table(kind, epochs, **fields):
    """A strategy's table for the 4 groups of the tiny models."""
    return tabulate(Strategy.model_validate({"kind": kind, **fields}), epochs, 4)


def make_rows(folder, count=64, seed=0, noise=0.0):
    """Texts of random words whose label is told by one of them, or by nothing where noise is 1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    texts = []
    for label in labels:
        words = list(generator.choice(OTHERS, generator.integers(2, 8)))
        words.insert(generator.integers(0, len(words)), generator.choice([BAD, GOOD][label]))
        texts.append(" ".join(words))
    wrong = generator.random(count) < noise
    labels = np.where(wrong, generator.integers(0, 2, count), labels)
    return encode(load_tokenizer(folder), texts, None, labels.astype(np.int64), 32)


@pytest.fixture(scope="module")
def rows(bert_folder):
    """Training rows of a separable task."""
    return make_rows(bert_folder)


@pytest.fixture(scope="module")
def checked(bert_folder):
    """Validation rows of the same task."""
    return make_rows(bert_folder, 32, seed=1)


def copy(model):
    """The model's weights, apart from it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(before, model):
    """Names of the weights that differ by a bit at least."""
    return {
        name for name, value in model.state_dict().items() if not torch.equal(before[name], value)
    }


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_freeze_moves_no_bit_below(bert_folder, rows, checked, frozen):
    """Frozen groups keep every bit, and every weight above them moves."""
    model = build(bert_folder, 2, seed=0)
    before, groups = copy(model), layer_groups(model)
    train(model, table("freeze", 1, groups=frozen), rows, checked, class_scoring, settings(), CPU)
    changed = moved(before, model)
    for index, group in enumerate(groups):
        assert set(group.parameters) & changed == (
            set() if index < frozen else set(group.parameters)
        )


def test_it_drops_in_the_quick_way(bert_folder, rows, checked, monkeypatch):
    """Every dropout of the model, attention's and the head's too, is drawn by `dropout.drop`."""
    drawn = []

    def watch(states, probability):
        drawn.append((tuple(states.shape[1:]), probability))
        return states

    monkeypatch.setattr(dropout, "drop", watch)
    model = build(bert_folder, 2, seed=0, dropout=0.2, longest=32)
    blocks, size = model.base.config.num_hidden_layers, model.base.config.hidden_size
    train(model, table("full", 1), rows, checked, class_scoring, settings(batch_size=64), CPU)
    # One in the embeddings, two behind and one within the attention of each block, and the head's.
    assert len(drawn) == 1 + 3 * blocks + 1
    assert {probability for _, probability in drawn} == {0.2}
    assert drawn[-1][0] == (size,)


def test_gradual_thaws_from_the_top(bert_folder, rows, checked):
    """In each epoch exactly the thawed groups move."""
    model = build(bert_folder, 2, seed=0)
    groups, states = layer_groups(model), []

    def report(_):
        states.append(copy(model))

    train(model, table("gradual", 4), rows, checked, class_scoring, settings(), CPU, report=report)
    # While training, the embedding table holds only the rows in use: it cannot be compared yet.
    begun = build(bert_folder, 2, seed=0)
    fixed = {name for name, value in copy(begun).items() if value.shape == states[0][name].shape}
    seen = [{name for name in fixed if not torch.equal(copy(begun)[name], states[0][name])}]
    for earlier, later in pairwise(states):
        seen.append({name for name in later if not torch.equal(earlier[name], later[name])})
    for epoch, changed in enumerate(seen):
        thawed = {name for group in groups[3 - epoch :] for name in group.parameters}
        assert changed == thawed


def test_the_best_epochs_weights_are_restored(bert_folder):
    """On noise, where later epochs are worse, the model measures as its best epoch did."""
    rows, checked = (make_rows(bert_folder, 48, seed, noise=1.0) for seed in (0, 1))
    model = build(bert_folder, 2, seed=0)
    result = train(model, table("full", 6), rows, checked, class_scoring, settings(), CPU)
    best = max(range(6), key=lambda index: result.history[index].merit)
    assert result.best == best
    assert best < 5  # or else the test would show nothing
    seen = result.history[best]
    got = measure(model, checked, CPU, "test")
    assert got == pytest.approx((seen.validation_loss, seen.validation_accuracy), abs=1e-6)
    assert not model.training
    assert result.steps == 18
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("patience", [1, 2, None])
def test_early_stopping(bert_folder, rows, checked, patience, monkeypatch):
    """Training stops after as many epochs without improvement as patience says."""
    figures = iter([(0.5, 0.6), (0.4, 0.8), (0.6, 0.7), (0.5, 0.8), (0.3, 0.8), (0.2, 0.9)])
    monkeypatch.setattr(class_scoring, "check", lambda *_: show(*next(figures)))
    model = build(bert_folder, 2, seed=0)
    chosen = settings(early_stopping=patience)
    result = train(model, table("freeze", 6, groups=3), rows, checked, class_scoring, chosen, CPU)
    assert len(result.history) == {1: 3, 2: 4, None: 6}[patience]
    assert result.best == {1: 1, 2: 1, None: 5}[patience]
    assert result.steps == 4 * len(result.history)


def test_the_probe_is_a_candidate(bert_folder, rows, checked, monkeypatch):
    """Where tuning only harms, the probe's weights are what is left, bit by bit."""
    model = build(bert_folder, 2, seed=0)
    before = (Epoch("probe", 0, 0.1, 1.0, 0.1, 0.95, 0.0, 1.0),)
    weights = copy(model)
    monkeypatch.setattr(class_scoring, "check", lambda *_: show(0.5, 0.9))
    chosen = settings(early_stopping=2)
    result = train(
        model, table("probe-then-tune", 5), rows, checked, class_scoring, chosen, CPU, before
    )
    assert result.best == 0
    assert [epoch.phase for epoch in result.history] == ["probe", "tune", "tune"]
    assert moved(weights, model) == set()


@pytest.mark.parametrize("fixture", ["bert_folder", "gpt2_folder"])
def test_probe_then_tune(fixture, request):
    """The installed probe measures as its epoch says, and tuning goes on from it without harm."""
    folder = request.getfixturevalue(fixture)
    rows, checked = make_rows(folder), make_rows(folder, 32, seed=1)
    model = build(folder, 2, seed=0)
    own, other = compute_features(model, rows, CPU), compute_features(model, checked, CPU)
    labels, others = torch.from_numpy(rows.labels), torch.from_numpy(checked.labels)
    probe = fit_probe(own, labels, other, others, 2)
    epoch = install_probe(model, probe, (own, labels), (other, others), 1.5)
    assert (epoch.phase, epoch.seconds) == ("probe", 1.5)
    shown = (epoch.validation_loss, epoch.validation_accuracy)
    assert measure(model, checked, CPU, "test") == pytest.approx(shown, abs=1e-4)
    shown = (epoch.train_loss, epoch.train_accuracy)
    assert measure(model, rows, CPU, "test") == pytest.approx(shown, abs=1e-4)
    chosen = settings(learning_rate=1e-3)
    result = train(
        model, table("probe-then-tune", 2), rows, checked, class_scoring, chosen, CPU, (epoch,)
    )
    assert result.history[0] is epoch
    assert measure(model, checked, CPU, "test")[1] >= epoch.validation_accuracy


def test_the_same_seed_gives_the_same_bytes(bert_folder, rows, checked):
    """Two runs with one seed end in equal weights; another seed in others, dropout and all."""

    def run(seed, disturb):
        model = build(bert_folder, 2, seed=seed)
        torch.manual_seed(disturb)  # what was drawn before must not matter
        train(model, table("full", 2), rows, checked, class_scoring, settings(seed=seed), CPU)
        return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}

    first = run(1, 5)
    assert run(1, 6) == first
    assert run(2, 5) != first


def test_a_separable_task_is_learned(bert_folder, checked):
    """Where one word tells the label, every training and validation row ends up right."""
    model, rows = build(bert_folder, 2, seed=0), make_rows(bert_folder, 320)
    result = train(model, table("full", 5), rows, checked, class_scoring, settings(), CPU)
    assert measure(model, rows, CPU, "test")[1] == 1.0
    assert measure(model, checked, CPU, "test")[1] == 1.0
    assert result.history[result.best].validation_accuracy == 1.0
    assert result.samples_per_second > 0


@pytest.mark.parametrize("batch_size", [16, 64], ids=["in the epoch", "in its last step"])
def test_divergence_is_an_error_with_a_remedy(bert_folder, rows, checked, batch_size):
    """A rate that makes the weights overflow stops the training and says what to do."""
    chosen = settings(batch_size=batch_size).model_copy(update={"learning_rate": 1e30})
    model = build(bert_folder, 2, seed=0)
    with pytest.raises(FloatingPointError, match=r"epoch 1.*learning_rate 1e\+30.*1e\+29"):
        train(model, table("full", 1), rows, checked, class_scoring, chosen, CPU)


def test_label_smoothing(bert_folder, rows, checked):
    """The training loss is cross-entropy against smoothed labels; validation's is not smoothed."""
    model = build(bert_folder, 2, seed=0, dropout=0.0)
    features = compute_features(model, rows, CPU)
    logits = functional.linear(features, model.head.weight, model.head.bias).detach()
    labels = functional.one_hot(torch.from_numpy(rows.labels), 2).float()
    expected = -((labels * 0.7 + 0.15) * logits.log_softmax(dim=1)).sum(dim=1).mean().item()
    chosen = settings(batch_size=64, label_smoothing=0.3)
    result = train(model, table("full", 1), rows, checked, class_scoring, chosen, CPU)
    (epoch,) = result.history
    assert epoch.train_loss == pytest.approx(expected, abs=1e-5)
    loss, _ = measure(model, checked, CPU, "test")
    assert epoch.validation_loss == pytest.approx(loss, abs=1e-6)


def test_score_logits_by_hand():
    """Mean cross-entropy in nats and accuracy of two rows."""
    loss, accuracy = score_logits(
        torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([1, 0])
    )
    assert loss == pytest.approx((math.log(2) - math.log(0.75)) / 2)
    assert accuracy == 0.5


def test_merit():
    """Accuracy decides, and between equals the lower loss."""
    epoch = Epoch("tune", 1, 0.1, 1.0, 0.4, 0.9, 1e-3, 1.0)
    assert replace(epoch, validation_accuracy=0.91, validation_loss=9.0).merit > epoch.merit
    assert replace(epoch, validation_loss=0.3).merit > epoch.merit


def test_a_batch_in_parts_is_the_same_step(bert_folder, rows, checked, monkeypatch):
    """Gradients added up from parts move the weights as the whole batch does."""
    after = []
    for tokens in (10**6, 40):
        monkeypatch.setattr(training, "TOKENS_AT_ONCE", tokens)
        model = build(bert_folder, 2, seed=0, dropout=0.0)
        result = train(
            model, table("full", 2), rows, checked, class_scoring, settings(batch_size=9), CPU
        )
        after.append((dict(model.named_parameters()), result.history))
    (whole, one), (cut, other) = after
    assert [epoch.train_loss for epoch in other] == pytest.approx(
        [epoch.train_loss for epoch in one], rel=1e-3
    )
    for name, values in whole.items():
        assert torch.allclose(values, cut[name], atol=2e-3), name
