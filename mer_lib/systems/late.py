"""Late fusion: one classifier per modality, each trained to decide alone; only their answers are combined.

`combine` says how: "average" is the mean of the probabilities (the sum rule); "learned" is the product rule with
learned weights, sum over m of w_m log p(y | x_m) + b_y, which begins at the plain product; b has room for the
-log p(y) of the exact rule (both rules: Kittler et al. 1998, IEEE TPAMI). No gradient goes from the combination back
into the classifiers: that, and not the sum, is what makes fusion late (chapter 07). The weights are learned on the
training split, where a classifier that knows its utterances by heart looks better than it is.

Encoder and head are the method's own. With one modality alone, its classifier is left. Not from the deck: our choice
of a baseline. Sees one utterance: no context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.model import Output, classifier
from mer_lib.systems.parts import Channels, SystemConfig, check_choice, pooled


@dataclass(frozen=True)
class LateConfig(SystemConfig):
    """Options of late fusion.

    Attributes:
        combine: "average" or "learned"; see the module.
    """

    combine: str = "average"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("combine", self.combine, ("average", "learned"))


class Late(nn.Module):
    """Two classifiers that never meet. Shown in chapter 13."""

    def __init__(self, config: LateConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        self.channels = Channels(config, features, vectors)
        self.heads = nn.ModuleDict(
            {m: classifier(config.dim, config.dim, config.dropout, config.classes) for m in config.modalities}
        )
        if config.combine == "learned":
            self.weight = nn.Parameter(torch.ones(len(config.modalities)))
            self.bias = nn.Parameter(torch.zeros(config.classes))

    def forward(self, batch: Batch) -> Output:
        """Classify a batch. The loss "unimodal" trains the classifiers, the task's loss at most the combination."""
        encoded = self.channels(batch)
        vectors = pooled(encoded, batch)
        unimodal = {m: head(vectors[m]) for m, head in self.heads.items()}
        apart = torch.stack([F.cross_entropy(scores, batch.label) for scores in unimodal.values()]).sum()
        return Output(self.combine(unimodal), {"unimodal": apart}, unimodal=unimodal, encoded=encoded)

    def combine(self, unimodal: dict[str, Tensor]) -> Tensor:
        """From the logits of each modality, (batch, classes), to the logits of both."""
        beliefs = torch.stack([scores.detach().log_softmax(-1) for scores in unimodal.values()])
        if self.config.combine == "average":
            return beliefs.logsumexp(0) - math.log(len(beliefs))
        return torch.einsum("m,mbc->bc", self.weight, beliefs) + self.bias
