"""The node's access to a model: on demand, under the machine's lease, with torch imported late.

A lease keeps the number of nodes that compute at one time on one machine bounded. An interior node
loads the model to gate and lets it go; a device that trains often may keep it (``keep_loaded``).
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from aggregation.replay import Portion
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.errors import NodeError
from nodes.machine.lease import Lease
from nodes.machine.process_memory import trim, uncollected
from nodes.model.probe import Probe
from nodes.state.home import Home

if TYPE_CHECKING:
    from nodes.model.effective import EffectiveModel
    from nodes.model.learned import Learned

log = structlog.get_logger()


class TorchEngine:
    """The model of one node. Thread-safe: one computation at a time."""

    def __init__(self, home: Home, config: ModelSettings, stop: threading.Event) -> None:
        self._home, self._config, self._stop = home, config, stop
        self._lock = threading.Lock()
        self._model: EffectiveModel | None = None
        self._keepers = 0
        self._lease = Lease(config.lease, config.lease_slots) if config.lease else None

    def losses(
        self, thetas: Sequence[NDArray[np.float32]], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Measure several effective models: one number for each probe, nats per token.

        For a text it is the loss; what safety probes score is in ``nodes.model.safety``.

        Args:
            thetas: for each model, the sum of its chain, (d,) float32.
            probes: for each source its probes.
        """
        from nodes.model.safety import scores

        every = [probe for source in probes for probe in probes[source]]
        measured: list[dict[str, NDArray[np.float64]]] = []
        with self._loaded() as model:
            for theta in thetas:
                model.set_theta(theta)
                losses = scores(model, every)
                by_source, at = {}, 0
                for source, of_source in probes.items():
                    by_source[source] = losses[at : at + len(of_source)]
                    at += len(of_source)
                measured.append(by_source)
        return measured

    def train(
        self,
        theta: NDArray[np.float32],
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Train a delta on top of ``theta``; see ``nodes.model.learner``."""
        from nodes.model.learner import TrainingRun, train

        settings = TrainingRun(
            steps=training.steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            max_tokens=training.max_tokens,
            rank=self._home.certificate.mask_rank,
            seed=seed,
        )
        with self._loaded() as model:
            return train(model, theta, texts, settings, old=old, portion=portion)

    def continuations(
        self, theta: NDArray[np.float32], prompt: str, max_new_tokens: int
    ) -> tuple[str, str]:
        """Continue ``prompt`` greedily, by the base and by the effective model ``theta``."""
        with self._loaded() as model:
            model.set_theta(theta)
            return model.continuations(prompt, max_new_tokens)

    @contextmanager
    def keep_loaded(self) -> Iterator[None]:
        """Keep the model in memory between computations, within the context, once it is loaded."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                self._let_go()

    def close(self) -> None:
        """Let the model go."""
        with self._lock:
            self._model = None

    @contextmanager
    def _loaded(self) -> Iterator[EffectiveModel]:
        lease = self._lease.hold(self._stop) if self._lease else nullcontext()
        with self._lock, lease:
            if self._model is None:
                self._model = self._load()
            try:
                yield self._model
            finally:
                self._let_go()

    def _let_go(self) -> None:
        if self._model is not None and not self._keepers and not self._config.keep_loaded:
            self._model = None
            gc.collect()
            trim()

    def _load(self) -> EffectiveModel:
        # Threads that wait for each other shall sleep: spinning, two of them took 12 times the
        # processor time on a busy machine. Read when torch's OpenMP is loaded, and never again.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        with uncollected():
            import torch

            from nodes.model.effective import EffectiveModel
        from nodes.model.basis import from_bytes
        from nodes.model.digest import describe_base
        from nodes.model.memory import require_memory

        torch.set_num_threads(self._config.threads)
        started = time.monotonic()
        network, base = self._home.network, describe_base(self._config.base)
        if not base.is_called(network.base, network.tokenizer):
            named, found = network.base, base.digest
            if network.base in (base.digest, base.earlier[0]):  # the tokenizer is another one
                named, found = network.tokenizer, base.tokenizer_digest
            raise NodeError(
                "wrong-base",
                f"The base in {self._config.base} has digest {found[:12]}…, the network "
                f"was made for {named[:12]}…: its weights, its configuration or its tokenizer "
                "differ. Fetch the base that the root ships.",
            )
        require_memory(base.parameters, self._config.dtype)
        basis = from_bytes(self._home.basis_file.read_bytes(), self._home.layout)
        with uncollected():
            model = EffectiveModel(self._config.base, self._home.layout, basis, self._config.dtype)
        log.info("model-loaded", seconds=round(time.monotonic() - started, 2))
        return model
