"""Knowledge distillation (Hinton, Vinyals and Dean 2015, sections 2 and 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def loss(logits: Tensor, labels: Tensor, soft: Tensor | None, *, weight: float, temperature: float) -> Tensor:
    """(1 − weight) · cross-entropy + weight · T² · KL(teacher ∥ student), both softmaxes at temperature T.

    logits, soft: (B, classes), of the student and the teacher; labels: (B,). Without `soft`, plain cross-entropy.
    T² keeps the two gradients in proportion whatever T is (section 2.1).
    """
    hard = F.cross_entropy(logits, labels)
    if soft is None or weight == 0:
        return hard
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, dim=1),
        F.log_softmax(soft / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - weight) * hard + weight * temperature**2 * divergence
