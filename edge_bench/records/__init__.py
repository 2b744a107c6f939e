"""The shared vocabulary: what every stage, device and page agrees on. Data only, no effects."""

from edge_bench.records.arch import ArchConfig, Block, SearchSpace, Stage
from edge_bench.records.artifact import Artifact, Parity, TensorSpec
from edge_bench.records.footprint import Footprint
from edge_bench.records.frontier import Budget, Candidate, Frontier, Generation
from edge_bench.records.notation import arch_name, parse_arch
from edge_bench.records.operators import Operator, macs_of, operators
from edge_bench.records.plain import AnySpace, PlainSpace, RecurrentSpace
from edge_bench.records.prediction import (
    AccuracyErrors,
    FittedAccuracyPredictor,
    FittedMemory,
    FittedPredictor,
    HeldOut,
    Prediction,
)
from edge_bench.records.result import (
    THIS_MACHINE,
    THIS_PROGRAM,
    BenchmarkResult,
    OperatorTime,
    Placement,
    TimingBlock,
)
from edge_bench.records.subnet import (
    AnyStep,
    Metric,
    ObservationInput,
    Preprocessing,
    RecurrentStep,
    Step,
    Subnet,
    TextInput,
)
from edge_bench.records.survey import Survey
from edge_bench.records.transformer import TransformerSpace

__all__ = [
    "THIS_MACHINE",
    "THIS_PROGRAM",
    "AccuracyErrors",
    "AnySpace",
    "AnyStep",
    "ArchConfig",
    "Artifact",
    "BenchmarkResult",
    "Block",
    "Budget",
    "Candidate",
    "FittedAccuracyPredictor",
    "FittedMemory",
    "FittedPredictor",
    "Footprint",
    "Frontier",
    "Generation",
    "HeldOut",
    "Metric",
    "ObservationInput",
    "Operator",
    "OperatorTime",
    "Parity",
    "Placement",
    "PlainSpace",
    "Prediction",
    "Preprocessing",
    "RecurrentSpace",
    "RecurrentStep",
    "SearchSpace",
    "Stage",
    "Step",
    "Subnet",
    "Survey",
    "TensorSpec",
    "TextInput",
    "TimingBlock",
    "TransformerSpace",
    "arch_name",
    "macs_of",
    "operators",
    "parse_arch",
]
