"""What a training makes small: a number for logits and targets, one a label and clip, averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earmark.training.recipe import LossRecipe


def loss_of(logits: Tensor, targets: Tensor, recipe: LossRecipe) -> Tensor:
    """Loss of a batch, as a recipe says.

    Parameters
    ----------
    logits
        (n, n_labels), before the sigmoid.
    targets
        (n, n_labels) in [0, 1]; soft after mixing.
    recipe
        Which loss; its smoothing is done first.

    Returns
    -------
    Tensor
        One number, the mean over clips and labels, in float32.
    """
    logits = logits.float()
    loss = _of_each_label(logits, targets, recipe)
    return loss + recipe.softmax_weight * softmax(logits, targets) if recipe.softmax_weight else loss


def _of_each_label(logits: Tensor, targets: Tensor, recipe: LossRecipe) -> Tensor:
    if recipe.label_smoothing:
        targets = smoothed(targets, recipe.label_smoothing)
    if recipe.name == "focal":
        return focal(logits, targets, recipe.focal_gamma)
    if recipe.name == "bootstrap":
        targets = bootstrapped(logits, targets, recipe.bootstrap_weight)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Targets drawn towards one half: ``t (1 - s) + s / 2``; any shape."""
    return targets * (1 - smoothing) + smoothing / 2


def bootstrapped(logits: Tensor, targets: Tensor, weight: float) -> Tensor:
    """Targets that are partly what the network says itself: ``weight t + (1 - weight) sigmoid(logits)``.

    Soft bootstrapping, Reed et al., *Training Deep Neural Networks on Noisy Labels with Bootstrapping*, ICLR 2015
    workshop. No gradient flows through the network's part.

    Parameters
    ----------
    logits, targets
        (n, n_labels).
    weight
        In [0, 1].

    Returns
    -------
    Tensor
        (n, n_labels) in [0, 1].
    """
    return torch.lerp(logits.detach().sigmoid(), targets, weight)


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Cross-entropy in which what is nearly right weighs little.

    Lin et al., *Focal Loss for Dense Object Detection*, ICCV 2017, without its class weights:
    ``-t (1 - p)^gamma log p - (1 - t) p^gamma log(1 - p)``, p the score. For soft targets both terms count.

    Parameters
    ----------
    logits, targets
        (n, n_labels).
    gamma
        0 or more; 0 is plain cross-entropy.

    Returns
    -------
    Tensor
        One number, the mean.
    """
    scores = logits.sigmoid()
    for_true = targets * (1 - scores).pow(gamma) * nn.functional.softplus(-logits)
    for_false = (1 - targets) * scores.pow(gamma) * nn.functional.softplus(logits)
    return (for_true + for_false).mean()


def softmax(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of a softmax over labels, against what part each has in its clip: ``-sum_j t_j / sum(t) log p_j``.

    It moves only the differences of a clip's logits, which is all that lwlrap and accuracy look at; where a score
    should lie by itself is left to the losses of single labels.

    Parameters
    ----------
    logits, targets
        (n, n_labels); a clip without any label counts for nothing.

    Returns
    -------
    Tensor
        One number, the mean over clips and labels, so that a logit is moved about as far as by binary cross-entropy.
    """
    parts = targets / targets.sum(dim=1, keepdim=True).clamp(min=torch.finfo(targets.dtype).tiny)
    return -(parts * nn.functional.log_softmax(logits, dim=1)).mean()
