"""The same rules elsewhere: Flower's strategies and ByzFL 0.0.11, behind one signature.

ByzFL is optional: ``pip install scipy``, then ``pip install --no-deps byzfl==0.0.11``. Without
``--no-deps`` it brings a torchvision that replaces torch with a CUDA build.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Call = Callable[[], Matrix]
Peer = Callable[[Matrix, int], Call]
"""Updates (n, d) and f to what does the work once; preparing it is not timed."""

_FLOWER: Mapping[str, tuple[str, Callable[[int, int], dict[str, float]]]] = {
    "mean": ("FedAvg", lambda n, f: {}),
    "trimmed_mean": ("FedTrimmedAvg", lambda n, f: {"beta": (f + 1e-6) / n}),
    "median": ("FedMedian", lambda n, f: {}),
    "krum": ("Krum", lambda n, f: {"num_malicious_nodes": f}),
    "multi_krum": (
        "MultiKrum",
        lambda n, f: {"num_malicious_nodes": f, "num_nodes_to_select": n - f},
    ),
    "bulyan": ("Bulyan", lambda n, f: {"num_malicious_nodes": f}),
}

_BYZFL: Mapping[str, Callable[[Any, Any, int], list[Any]]] = {
    "mean": lambda rules, _, f: [rules.Average()],
    "trimmed_mean": lambda rules, _, f: [rules.TrMean(f)],
    "median": lambda rules, _, f: [rules.Median()],
    "mean_around_median": lambda rules, _, f: [rules.Meamed(f)],
    "geometric_median": lambda rules, _, f: [rules.GeometricMedian()],
    "centred_clipping": lambda rules, _, f: [rules.CenteredClipping(L=10)],
    "krum": lambda rules, _, f: [rules.Krum(f)],
    "multi_krum": lambda rules, _, f: [rules.MultiKrum(f)],
    "caf": lambda rules, _, f: [rules.CAF(f)],
    "mda": lambda rules, _, f: [rules.MDA(f)],
    "nnm trimmed_mean": lambda rules, steps, f: [steps.NNM(f), rules.TrMean(f)],
    "nnm geometric_median": lambda rules, steps, f: [steps.NNM(f), rules.GeometricMedian()],
    "nnm krum": lambda rules, steps, f: [steps.NNM(f), rules.Krum(f)],
    "nnm median": lambda rules, steps, f: [steps.NNM(f), rules.Median()],
    "nnm caf": lambda rules, steps, f: [steps.NNM(f), rules.CAF(f)],
    "arc nnm trimmed_mean": lambda rules, steps, f: [
        steps.ARC(f), steps.NNM(f), rules.TrMean(f)
    ],
}  # fmt: skip


def flower() -> dict[str, Peer]:
    """Flower's ``aggregate_train``. Its messages are made fresh: a strategy consumes them."""
    importlib.import_module("flwr.serverapp")  # sets its logger's level when it is imported
    logging.getLogger("flwr").setLevel(logging.ERROR)
    return {rule: _flower(rule) for rule in _FLOWER}


def byzfl(tensors: bool = True) -> dict[str, Peer]:
    """ByzFL's aggregators, on torch tensors or on numpy arrays; empty when not installed.

    Its front door imports torchvision, so the package is entered by the side.
    """
    spec = importlib.util.find_spec("byzfl")
    if spec is None or spec.submodule_search_locations is None:
        return {}
    if "byzfl" not in sys.modules:
        sys.modules["byzfl"] = package = types.ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
    try:
        rules = importlib.import_module("byzfl.aggregators.aggregators")
        steps = importlib.import_module("byzfl.aggregators.preaggregators")
    except ImportError:  # scipy, which it needs and --no-deps leaves out
        return {}
    return {name: _byzfl(name, rules, steps, tensors) for name in _BYZFL}


def _flower(rule: str) -> Peer:
    def prepare(updates: Matrix, f: int) -> Call:
        from flwr.app import DEFAULT_TTL, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
        from flwr.serverapp import strategy as strategies

        about = cast(Any, Metadata)
        name, settings = _FLOWER[rule]
        strategy = getattr(strategies, name)(**settings(len(updates), f))

        def reply(child: int, row: Matrix) -> Any:
            content = RecordDict(
                {"arrays": ArrayRecord([row]), "metrics": MetricRecord({"num-examples": 1})}
            )
            sent = about(1, str(child), child, 0, "", "1", 0.0, DEFAULT_TTL, "train")
            return Message(content, metadata=sent)

        replies = [reply(child, row) for child, row in enumerate(updates, start=1)]

        def run() -> Matrix:
            arrays, _ = strategy.aggregate_train(1, replies)
            result: Matrix = arrays.to_numpy_ndarrays()[0]
            return result

        return run

    return prepare


def _byzfl(name: str, rules: Any, steps: Any, tensors: bool) -> Peer:
    def prepare(updates: Matrix, f: int) -> Call:
        import torch

        own = updates.copy() if name.startswith("arc") else updates  # its clipping writes into it
        given: Any = torch.from_numpy(own) if tensors else own

        def run() -> Matrix:
            value: Any = given
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for step in _BYZFL[name](rules, steps, f):
                    value = step(value)
            return np.asarray(value, np.float32)

        return run

    return prepare
