"""To which of its neighbours each weight of a layer is rounded, when the grid is given: by what the layer sees.

A layer's output error is quadratic in the error of its weights, so that second moments of its inputs are all that is
needed: nearest needs none; AdaRound (Nagel et al., ICML 2020) learns up or down for all weights together; GPTQ (Frantar
et al., ICLR 2023) goes column by column and lets the rest answer; OBQ (Frantar and Alistarh, NeurIPS 2022, algorithm 3)
does so in each row's own order, the least error first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lissome.compress.quantize.second_order import inverse_factor

ROUNDINGS: Final = ("nearest", "adaround", "gptq", "obq")
#: of AdaRound: ends of the rectified sigmoid (equation 23), weight of its regulariser, powers (section 3.2), and pace
ZETA, GAMMA, LAMBDA, BETA, WARM, PACE = 1.1, -0.1, 1.0, (20.0, 2.0), 0.2, 1e-2


@dataclass(frozen=True)
class Rows:
    """What there is to round, as G groups of R rows of d columns, float64.

    weight: (G, R, d). scale: (G, R, 1), the step of each row. gram, cross: (G, d, d), E[x̂ x̂ᵀ] and E[x x̂ᵀ]. gone:
    (G, R, d) bool, True where the code has to be 0. top: largest magnitude of a code.
    """

    weight: Tensor
    scale: Tensor
    gram: Tensor
    cross: Tensor
    gone: Tensor
    top: int

    @property
    def target(self) -> Tensor:
        """The weight that best gives the original's outputs from the compressed network's inputs."""
        best: Tensor = torch.linalg.solve(self.gram, (self.weight @ self.cross).mT).mT
        return best

    def error(self, codes: Tensor) -> float:
        """E‖W x − Ŵ x̂‖², but for what no codes change."""
        made = codes * self.scale
        return float(((made @ self.gram - 2 * self.weight @ self.cross) * made).sum())

    def codes(self, numbers: Tensor) -> Tensor:
        """Numbers within the codes; 0 where they have to be."""
        return numbers.clamp(-self.top, self.top).masked_fill(self.gone, 0)


def rounded(rows: Rows, rounding: str, steps: int) -> Tensor:
    """Codes (G, R, d), whole float64. steps: of AdaRound's descent."""
    if rounding == "nearest":
        return rows.codes((rows.weight / rows.scale).round())
    return adaround(rows, steps) if rounding == "adaround" else gptq(rows) if rounding == "gptq" else obq(rows)


def adaround(rows: Rows, steps: int) -> Tensor:
    """Codes ⌊w / s⌋ + h(v): minimise E‖W x − Ŵ x̂‖² + λ Σ 1 − |2 h(v) − 1|^β over v (equations 21, 22 and 24).

    The mean is over all samples at every step, through their second moments; what the activation behind the layer does
    is left out. The error is in units of its mean a weight when all are rounded to the nearest, so that λ means the
    same in every layer. β falls from 20 to 2; the first fifth of the steps has no regulariser. The nearest codes are
    kept where they are better.
    """
    position = rows.weight / rows.scale
    below = position.floor()
    rest = (position - below).clamp(1e-4, 1 - 1e-4)
    nearest = rows.codes(position.round())
    difference = nearest * rows.scale - rows.weight
    unit = max(float(((difference @ rows.gram) * difference).sum()) / nearest.numel(), 1e-30)
    v = -torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1)  # h(v) is the rest: it begins at the weight itself
    v, below, scale = (each.float().clone() for each in (v, below, rows.scale))
    gram, pull = rows.gram.float(), (rows.weight @ rows.cross).float()
    v.requires_grad_()
    optimizer = torch.optim.Adam([v], lr=PACE)
    for step in range(steps):
        with torch.enable_grad():
            up = (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
            made = rows.codes(below + up) * scale
            loss = ((made @ gram - 2 * pull) * made).sum() / unit
            done = step / steps
            if done >= WARM:
                progress = (done - WARM) / (1 - WARM)
                beta = BETA[0] + (BETA[1] - BETA[0]) * progress
                loss = loss + LAMBDA * (1 - (2 * up - 1).abs().pow(beta)).sum()
            (v.grad,) = torch.autograd.grad(loss, v)
        optimizer.step()
    up = (torch.sigmoid(v.detach()) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
    found = rows.codes((below + up.round()).double())
    return found if rows.error(found) < rows.error(nearest) else nearest


def gptq(rows: Rows) -> Tensor:
    """Columns in the order of their second moments, the largest first; each error made good by those still to come."""
    order = rows.gram.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)
    factor = inverse_factor(rows.gram[:, order][:, :, order])
    left, gone = rows.target[:, :, order], rows.gone[:, :, order]
    made = torch.zeros_like(left)
    for j in range(left.shape[2]):
        column = left[:, :, j : j + 1]
        codes = (column / rows.scale).round().clamp(-rows.top, rows.top).masked_fill(gone[:, :, j : j + 1], 0)
        made[:, :, j : j + 1] = codes
        error = (column - codes * rows.scale) / factor[:, j, j].view(-1, 1, 1)
        left[:, :, j:] -= error * factor[:, j : j + 1, j:]
    codes = torch.empty_like(made)
    codes[:, :, order] = made
    return codes


def obq(rows: Rows) -> Tensor:
    """Each row in its own order: next the weight whose rounding costs least, (w − ŵ)² / [H⁻¹]_jj.

    Weights outside the grid come first, as the paper says (section 5), when they are more than half a step out. d³ for
    each row, against GPTQ's d².
    """
    inverses = torch.linalg.inv(rows.gram)
    target = rows.target
    made = torch.zeros_like(target)
    for g in range(target.shape[0]):
        for r in range(target.shape[1]):
            made[g, r] = _one_row(rows, target[g, r].clone(), inverses[g].clone(), g, r)
    return made


def _one_row(rows: Rows, left: Tensor, inverse: Tensor, g: int, r: int) -> Tensor:
    scale, gone = rows.scale[g, r, 0], rows.gone[g, r]
    codes = torch.zeros_like(left)
    waiting = torch.ones_like(gone)
    for _ in range(left.numel()):
        nearest = (left / scale).round().clamp(-rows.top, rows.top).masked_fill(gone, 0)
        error = left - nearest * scale
        cost = error.square() / inverse.diagonal()
        cost = torch.where(error.abs() > scale / 2 * (1 + 1e-9), cost - 1e30, cost)
        j = int(cost.masked_fill(~waiting, torch.inf).argmin())
        codes[j], waiting[j] = nearest[j], False
        column = inverse[:, j].clone()
        left -= column * (error[j] / column[j])
        inverse -= column.unsqueeze(1) * column / column[j]
        inverse[j, j] = 1.0  # its row and column are zeros now; the diagonal is divided by
    return codes
