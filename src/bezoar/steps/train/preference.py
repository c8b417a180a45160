"""Losses of preference methods that TRL's DPOTrainer lacks, as functions of log-probabilities alone.

Each gives one loss for each pair, in nats unless it says otherwise. In formulas, w is the chosen answer and l the
rejected one. A log ratio is the log-probability under the trained model minus that under the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

NEVER_SURE = 1e-6  # nats below 0 of a mean log-probability: at 0 the odds are infinite


@dataclass(frozen=True)
class Answers:
    """One answer of each pair of a batch.

    Attributes:
        policy: (pairs, tokens), nats; log-probabilities under the trained model, 0 outside of the answer.
        mask: (pairs, tokens); 1 for each token of the answer.
        reference: As `policy`, under the reference; None for a loss without one.
        guide: As `policy`, under the guide; None for a loss without one.
        win_rate: (pairs,), from 0 to 1; how often the answer beats other answers to its prompt; None for a loss
            without it.
    """

    policy: Tensor
    mask: Tensor
    reference: Tensor | None = None
    guide: Tensor | None = None
    win_rate: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """(pairs,), nats; log-probability of each answer."""
        return self.policy.sum(dim=1)

    @property
    def mean(self) -> Tensor:
        """(pairs,), nats; the same for each token."""
        return self.total / self.mask.sum(dim=1).clamp(min=1)

    @property
    def ratio(self) -> Tensor:
        """(pairs,), nats; log ratio of each answer."""
        assert self.reference is not None
        return self.total - self.reference.sum(dim=1)

    @property
    def ratios(self) -> Tensor:
        """(pairs, tokens), nats; log ratio of each token."""
        assert self.reference is not None
        return self.policy - self.reference


def sigmoid(difference: Tensor) -> Tensor:
    """(pairs,), above 0: -log sigmoid of how much better a chosen answer is, as in the Bradley-Terry model."""
    return -logsigmoid(difference)


def simpo(chosen: Answers, rejected: Answers, *, beta: float, gamma_ratio: float) -> Tensor:
    """-log sigmoid(beta (mean w - mean l - gamma_ratio)), without a reference.

    Source: Meng et al. 2024 (arXiv:2405.14734), equation 6, with gamma = gamma_ratio * beta.
    """
    return sigmoid(beta * (chosen.mean - rejected.mean - gamma_ratio))


def log_odds(mean: Tensor) -> Tensor:
    """(pairs,), nats: log of p / (1 - p), for the mean log-probability of a token, below 0."""
    mean = mean.clamp(max=-NEVER_SURE)
    return mean - torch.log(-torch.expm1(mean))


def orpo(chosen: Answers, rejected: Answers, *, weight: float) -> Tensor:
    """The plain loss of w, plus `weight` times -log sigmoid of the log odds ratio, without a reference.

    Source: Hong et al. 2024 (arXiv:2403.07691), equations 6 and 7. TRL's ORPOTrainer takes the plain loss over the
    prompt, too.
    """
    return -chosen.mean + weight * sigmoid(log_odds(chosen.mean) - log_odds(rejected.mean))


def asft(chosen: Answers, rejected: Answers, *, weight: float) -> Tensor:
    """The plain loss of w, plus `weight` times -log sigmoid of w's log odds and of minus l's, without a reference.

    Source: Wang et al. 2024 (arXiv:2409.10571).
    """
    return -chosen.mean + weight * (sigmoid(log_odds(chosen.mean)) + sigmoid(-log_odds(rejected.mean)))


def sppo(chosen: Answers, rejected: Answers, *, beta: float) -> Tensor:
    """Half the squared distances of the log ratios of w and l from (win rate - 1/2) / beta, in squared nats.

    With win rates 1 and 0 it is half of TRL's sppo_hard.

    Source: Wu et al. 2024 (arXiv:2405.00675), equation 4.7, with eta = 1 / beta; the half is their code's.
    """
    return (_distance(chosen, beta) + _distance(rejected, beta)) / 2


def _distance(one: Answers, beta: float) -> Tensor:
    assert one.win_rate is not None
    return (one.ratio - (one.win_rate - 0.5) / beta) ** 2


def tgdpo(chosen: Answers, rejected: Answers, *, beta: float, alpha: float) -> Tensor:
    """DPO with a beta of each token: beta (1 + alpha r) in w, and beta (1 - alpha r) in l.

    r is the token's reward under the guide: beta times its log ratio of guide and reference.

    Source: Zhu et al. 2025 (arXiv:2506.14574).
    """
    better, worse = _rewards(chosen, beta), _rewards(rejected, beta)
    gain = (beta * (1 + alpha * better) * chosen.ratios).sum(dim=1)
    return sigmoid(gain - (beta * (1 - alpha * worse) * rejected.ratios).sum(dim=1))


def _rewards(one: Answers, beta: float) -> Tensor:
    assert one.guide is not None
    assert one.reference is not None
    return beta * (one.guide - one.reference)


def tpo(chosen: Answers, rejected: Answers, gold: Answers, *, beta: float, gold_weight: float) -> Tensor:
    """-log sigmoid(beta (w - l)), without a reference, plus `gold_weight` times the plain loss of a third answer.

    Source: Saeidi et al. 2024 (arXiv:2405.16681). TRL's TPOTrainer takes the plain loss over all tokens of a batch.
    """
    return sigmoid(beta * (chosen.total - rejected.total)) - gold_weight * gold.mean


def tpo_l(
    chosen: Answers, rejected: Answers, gold: Answers, *, beta: float, gamma: float, gold_weight: float
) -> Tensor:
    """-log sigmoid(beta (mean w - mean l) - gamma), plus `gold_weight` times the plain loss of a third answer.

    Source: as `tpo`; the length-normalised form, SimPO's.
    """
    return sigmoid(beta * (chosen.mean - rejected.mean) - gamma) - gold_weight * gold.mean
