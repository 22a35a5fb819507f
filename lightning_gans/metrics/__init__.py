"""Scores as torchmetrics metrics, and the record that keeps a score together with its protocol."""

from lightning_gans.metrics.attributes import AttributeInformation, AttributeTable
from lightning_gans.metrics.clustering import (
    CodeClassConfusion,
    Matching,
    adjusted_rand_index,
    hungarian_matching,
    majority_matching,
    normalized_mutual_information,
)
from lightning_gans.metrics.coverage import MassCoverage, mass_coverage
from lightning_gans.metrics.information import CodeInformation, InformationBound
from lightning_gans.metrics.modes import CoveredModes, ModeCoverage
from lightning_gans.metrics.score import (
    ProtocolValue,
    Score,
    append_scores,
    format_table,
    read_scores,
    require_same_protocol,
)
from lightning_gans.metrics.score_table import format_scores
from lightning_gans.metrics.stacked_modes import StackedCoverage, StackedModes

__all__ = [
    "AttributeInformation",
    "AttributeTable",
    "CodeClassConfusion",
    "CodeInformation",
    "CoveredModes",
    "InformationBound",
    "MassCoverage",
    "Matching",
    "ModeCoverage",
    "ProtocolValue",
    "Score",
    "StackedCoverage",
    "StackedModes",
    "adjusted_rand_index",
    "append_scores",
    "format_scores",
    "format_table",
    "hungarian_matching",
    "majority_matching",
    "mass_coverage",
    "normalized_mutual_information",
    "read_scores",
    "require_same_protocol",
]
