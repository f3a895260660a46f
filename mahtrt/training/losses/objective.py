"""What a training minimises: one term per output of the network, added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mahtrt.errors import DataError, UsageError
from mahtrt.spec import ModelSpec
from mahtrt.training.cases import Targets
from mahtrt.training.losses import coordinates, elementwise
from mahtrt.training.losses.options import WEIGHTS, LossOptions
from mahtrt.training.losses.structure import ssim
from mahtrt.training.losses.weighting import LearnedWeights
from mahtrt.training.targets import SIGMA_CELLS, gaussian_heatmaps

Outputs = Mapping[str, Tensor]
# A network without heatmaps has its coordinates judged on a grid of as many cells over its input.
REGRESSION_CELLS = (64, 64)
_HEATMAP = {
    "bce": elementwise.cross_entropy,
    "mse": elementwise.squared,
    "weighted-mse": elementwise.weighted_squares,
    "focal": elementwise.focal,
}
_COORDINATE = {
    "smooth-l1": coordinates.smooth_l1,
    "l1": coordinates.l1,
    "wing": coordinates.wing,
}
_MAP = {
    "l1": elementwise.absolute,
    "mse": elementwise.squared,
    "bce": elementwise.cross_entropy,
    "focal": elementwise.focal,
}
_LABEL = {"bce": elementwise.cross_entropy, "focal": elementwise.focal}


class Objective(nn.Module):
    """The loss of a network, from its spec.

    Args:
        spec: Which outputs there are.
        options: Which loss each gets, and which weight.
        linear_heatmaps: The heatmaps are no probabilities
            (:attr:`mahtrt.models.network.Network.linear_heatmaps`).

    Raises:
        UsageError: No output has a loss, or all of them have the weight 0.
    """

    def __init__(
        self, spec: ModelSpec, options: LossOptions | None = None, *, linear_heatmaps: bool = False
    ) -> None:
        super().__init__()
        self.spec, self.options = spec, options or LossOptions()
        self.weights = {**WEIGHTS, **self.options.weights}
        dark = spec.decode.method == "dark"
        chosen = self.options.heatmap
        if chosen == "auto":
            chosen = "weighted-mse" if dark or linear_heatmaps else "bce"
        self._heatmap_loss = _HEATMAP[chosen]
        self._sigma = self.options.sigma or (spec.decode.sigma if dark else SIGMA_CELLS)
        self._terms = self._wanted_terms()
        if not self._terms:
            given = ", ".join(f"{name}={weight:g}" for name, weight in self.options.weights.items())
            raise UsageError(
                "--loss-weight",
                got=given or "no term",
                expected="a term that the network learns by",
            )
        self.learned = LearnedWeights(list(self._terms)) if self._learns else None

    @property
    def _learns(self) -> bool:
        return self.options.weighting == "learned"

    def forward(self, outputs: Outputs, targets: Targets) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch.

        Args:
            outputs: What the network gave in training mode: the spec's outputs by name, and
                ``auxiliary``, coordinates (B, K, 2) in [0, 1], where it has such a branch.
            targets: Targets of the same batch, on the same device.

        Returns:
            The loss, and every term of it without its weight; 0 and none where nothing that is
            annotated has a term.
        """
        terms = {
            name: found
            for name, term in self._terms.items()
            if (found := term(outputs, targets)) is not None
        }
        weighted = {name: self.weights[name] * value for name, value in terms.items()}
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not terms:  # a batch of cases without a map, say
            return torch.stack([0 * each.float().sum() for each in outputs.values()]).sum(), values
        if self.learned is not None:
            return self.learned(weighted), values
        first, *rest = weighted.values()
        return sum(rest, start=first), values

    def _wanted_terms(self) -> dict[str, Callable[[Outputs, Targets], Tensor | None]]:
        """The terms in the order in which they are added."""
        spec, terms = self.spec, dict[str, Callable[[Outputs, Targets], Tensor | None]]()
        if spec.output("heatmaps") and spec.landmarks:
            terms |= {"heatmap": self._heatmap}
        # DARK's coordinates come from an argmax, through which nothing is learned.
        if spec.output("landmarks") and spec.decode.method != "dark":
            terms |= {"coordinate": self._coordinate}
        if spec.landmarks:
            terms |= {"auxiliary": self._auxiliary}
        if spec.output("heatmaps") and spec.landmarks:
            terms |= {"heatmap-ssim": self._heatmap_structure}
        if spec.output("visibility"):
            terms |= {"visibility": self._visibility}
        if spec.output("map"):
            terms |= {"map": self._map, "map-ssim": self._map_structure}
        if spec.output("logits"):
            terms |= {"label": self._label}
        return {name: term for name, term in terms.items() if self.weights[name] > 0}

    # Landmarks

    def _heatmap(self, outputs: Outputs, targets: Targets) -> Tensor:
        predicted, wanted, known = self._heatmaps(outputs, targets)
        loss = self._heatmap_loss(predicted, wanted)
        return (loss.sum((2, 3)) * known).sum() / known.sum().clamp(min=1)

    def _heatmap_structure(self, outputs: Outputs, targets: Targets) -> Tensor:
        predicted, wanted, known = self._heatmaps(outputs, targets)
        return ((1 - ssim(predicted, wanted)) * known).sum() / known.sum().clamp(min=1)

    def _heatmaps(self, outputs: Outputs, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmaps, their targets, and (B, K) which points are annotated."""
        output = self.spec.output("heatmaps")
        assert output is not None
        predicted = outputs[output.name]
        height, width = predicted.shape[2:]
        cells = self._cells(targets.points, (height, width))
        wanted = gaussian_heatmaps(cells, (height, width), self._sigma)
        return predicted, wanted, targets.points.isfinite().all(-1)

    def _coordinate(self, outputs: Outputs, targets: Targets) -> Tensor:
        output = self.spec.output("landmarks")
        assert output is not None
        points, size = targets.points, self.spec.decode.heatmap_size or REGRESSION_CELLS
        found = self._network_px(outputs[output.name].float(), output.frame)
        error = (found - points).nan_to_num(0.0) * self._cells_per_px(points, size)
        loss = _COORDINATE[self.options.coordinate](error)
        return loss.sum(-1).sum() / points.isfinite().all(-1).sum().clamp(min=1)

    def _auxiliary(self, outputs: Outputs, targets: Targets) -> Tensor | None:
        if "auxiliary" not in outputs:
            return None
        points = targets.points
        normalised = (points + 0.5) / self._input_size(points)
        off = (outputs["auxiliary"].float() - normalised).nan_to_num(0.0)
        return off.abs().sum() / points.isfinite().all(-1).sum().clamp(min=1)

    def _network_px(self, points: Tensor, frame: str) -> Tensor:
        """Coordinates of an output, (B, K, 2), in network pixels."""
        if frame == "normalized":
            return points * self._input_size(points) - 0.5
        if frame == "heatmap":
            assert self.spec.decode.heatmap_size is not None
            return (points + 0.5) / self._cells_per_px(points, self.spec.decode.heatmap_size) - 0.5
        return points

    def _cells(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Network pixels as cells of a grid (height, width) over the input."""
        return (points + 0.5) * self._cells_per_px(points, size) - 0.5

    def _cells_per_px(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = self.spec.input.size
        return torch.tensor([size[1] / width, size[0] / height], device=points.device)

    def _input_size(self, points: Tensor) -> Tensor:
        height, width = self.spec.input.size
        return torch.tensor([width, height], device=points.device)

    # Visibility, maps, labels

    def _visibility(self, outputs: Outputs, targets: Targets) -> Tensor:
        output = self.spec.output("visibility")
        assert output is not None
        return _mean_where_known(elementwise.cross_entropy, outputs[output.name], targets.visible)

    def _label(self, outputs: Outputs, targets: Targets) -> Tensor | None:
        output = self.spec.output("logits")
        assert output is not None
        if targets.labels is None:
            return None
        logits, loss = outputs[output.name].float(), self.options.label
        if loss == "focal":
            return _mean_where_known(elementwise.focal, logits.sigmoid(), targets.labels)
        return _mean_where_known(_entropy_of_logits, logits, targets.labels)

    def _map(self, outputs: Outputs, targets: Targets) -> Tensor | None:
        if (pair := self._maps(outputs, targets)) is None:
            return None
        return _mean_where_known(_MAP[self.options.map], *pair)

    def _map_structure(self, outputs: Outputs, targets: Targets) -> Tensor | None:
        if (pair := self._maps(outputs, targets)) is None:
            return None
        found, wanted = pair
        # What is not known is taken as it was found, and so pulls nowhere.
        return (1 - ssim(found, torch.where(wanted.isnan(), found.detach(), wanted))).mean()

    def _maps(self, outputs: Outputs, targets: Targets) -> tuple[Tensor, Tensor] | None:
        """The map and its target at the map's size; None where no case has one."""
        output = self.spec.output("map")
        assert output is not None
        if targets.target_map is None:
            return None
        found = outputs[output.name].float()
        rows, columns = found.shape[-2:]
        return found, F.adaptive_avg_pool2d(targets.target_map, (rows, columns))


def _mean_where_known(
    loss: Callable[[Tensor, Tensor], Tensor], found: Tensor, wanted: Tensor
) -> Tensor:
    """Mean loss of the elements whose target is not NaN; 0 where there is none.

    Raises:
        DataError: Targets of another shape, such as one map for two channels.
    """
    if found.shape != wanted.shape:
        got, expected = tuple(wanted.shape[1:]), tuple(found.shape[1:])
        raise DataError(
            "training data",
            got=f"annotations of shape {got}",
            expected=f"{expected}, as the network",
        )
    known = wanted.isfinite()
    each = loss(found.float(), wanted.nan_to_num(0.0))
    return (each * known).sum() / known.sum().clamp(min=1)


def _entropy_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")
