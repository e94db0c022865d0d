"""Frozen features, and a linear head fitted to convergence on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from finetuning.batching import cut_batches
from finetuning.devices import Device, computing
from finetuning.history import Epoch
from finetuning.models import Classifier
from finetuning.problem import Rows
from finetuning.progress import track

# Strength of the squared penalty, tried in turn; the validation split chooses.
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ITERATIONS = 200


@dataclass(frozen=True)
class Probe:
    """A fitted linear head. weight: (classes, hidden). bias: (classes,)."""

    weight: Tensor
    bias: Tensor
    penalty: float
    validation_accuracy: float

    def logits(self, features: Tensor) -> Tensor:
        """(rows, hidden) -> (rows, classes)."""
        return features @ self.weight.T + self.bias


def compute_features(
    model: Classifier, rows: Rows, device: Device, title: str = "features"
) -> Tensor:
    """Pooled features of every row in the rows' order, fp32 on the CPU: (rows, hidden)."""
    # For a single row, looking at every module would take longer than some models do.
    if model.training:
        model.eval()
    # Without gradients, not in inference mode: what some models keep of it (BEiT its positions,
    # others their weights as they are moved) could not be trained with afterwards.
    if model.head.weight.device.type != device.kind:
        model.to(device.kind)
    features = torch.zeros(len(rows), model.head.in_features)
    batches = cut_batches(rows.lengths)
    for chosen in track(batches, title, len(batches)):
        batch = {name: value.to(device.kind) for name, value in rows.collate(chosen).items()}
        with torch.no_grad(), computing(device):
            pooled = model.features(**batch)
        features[torch.from_numpy(chosen)] = pooled.float().cpu()
    return features


def compute_logits(model: Classifier, rows: Rows, device: Device, title: str = "scoring") -> Tensor:
    """Logits of every row in the rows' order, fp32 on the CPU: (rows, classes)."""
    features = compute_features(model, rows, device, title)
    # The head runs in fp32: it costs nothing and keeps close scores apart.
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    return functional.linear(features, weight.float().cpu(), bias.float().cpu())


def score_logits(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy: (rows, classes), (rows,)."""
    loss = functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(dim=1) == labels).double().mean().item()


def install_probe(
    model: Classifier,
    probe: Probe,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    seconds: float,
) -> Epoch:
    """Make a fitted probe the model's head.

    Args:
        model: The model whose frozen features the probe was fitted on.
        probe: The fitted head.
        train: Features (rows, hidden) and labels (rows,).
        validation: Likewise.
        seconds: What features and fit took.
    """
    with torch.no_grad():
        model.head.weight.copy_(probe.weight)
        model.head.bias.copy_(probe.bias)
    train_loss, train_accuracy = score_logits(probe.logits(train[0]), train[1])
    loss, accuracy = score_logits(probe.logits(validation[0]), validation[1])
    return Epoch("probe", 0, train_loss, train_accuracy, loss, accuracy, 0.0, seconds)


def fit_probe(
    train: Tensor,
    labels: Tensor,
    validation: Tensor,
    validation_labels: Tensor,
    classes: int,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Probe:
    """Fit multinomial logistic regression to convergence; the validation split picks the penalty.

    Features are standardised for the fit (one penalty then suits all of them) and the scaling is
    folded into the weights after it.

    Args:
        train: (rows, hidden). labels: (rows,). validation and validation_labels likewise.
        labels: See train.
        validation: See train.
        validation_labels: See train.
        classes: Number of classes.
        label_smoothing: As in training.
        weights: What a row of each class counts for, (classes,), 1 on the rows' average; None
            counts all alike.
    """
    if not (torch.isfinite(train).all() and torch.isfinite(validation).all()):
        raise FloatingPointError("the features are not finite: the base model cannot be probed")
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0).clamp(min=1e-6)
    standard = (train - mean) / deviation
    checked = (validation - mean) / deviation
    targets = labels if weights is None else functional.one_hot(labels, classes) * weights
    best: tuple[float, float] = (-1.0, float("-inf"))
    chosen: Probe | None = None
    parameters = torch.zeros(classes, train.shape[1] + 1)
    for penalty in sorted(PENALTIES, reverse=True):
        # From strong to weak, each fit begins where the last one ended.
        parameters = _fit(standard, targets, parameters, penalty, label_smoothing)
        logits = functional.linear(checked, parameters[:, :-1], parameters[:, -1])
        accuracy = (logits.argmax(dim=1) == validation_labels).float().mean().item()
        merit = (accuracy, -functional.cross_entropy(logits, validation_labels).item())
        if math.isfinite(merit[1]) and merit > best:
            best = merit
            weight = parameters[:, :-1] / deviation
            bias = parameters[:, -1] - weight @ mean
            chosen = Probe(weight, bias, penalty, accuracy)
    if chosen is None:
        raise FloatingPointError("no fit on the features is finite: the base cannot be probed")
    return chosen


def _fit(
    features: Tensor, targets: Tensor, start: Tensor, penalty: float, label_smoothing: float
) -> Tensor:
    parameters = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=ITERATIONS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        logits = functional.linear(features, parameters[:, :-1], parameters[:, -1])
        loss = functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        loss = loss + 0.5 * penalty * parameters[:, :-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(evaluate)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return parameters.detach()
