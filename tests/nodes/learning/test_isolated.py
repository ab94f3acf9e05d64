"""An engine in a process of its own: the same numbers, no orphan, no silent end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from aggregation.replay import ONLY_NEW
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.learning.isolated import IsolatedEngine
from nodes.learning.worker import main
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.model.probe import Probe, RefusalProbe
from nodes.state.home import Home
from nodes.trust.network import init_network
from tests.nodes.conftest import TEXTS
from tests.processes import started

pytestmark = pytest.mark.slow  # every process imports torch

WAIT_S = 60.0
TRAINING = TrainingSettings(steps=2, batch_size=2, max_tokens=32)
LONG = TrainingSettings(steps=100_000, batch_size=8, max_tokens=32)
OLD = {"earlier": TEXTS[4:]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Home:
    folder = tmp_path_factory.mktemp("isolated") / "root"
    return init_network(folder, "test", coordinates_of(base, rank=4), SystemClock())


def settings(base: Path, **changed: object) -> ModelSettings:
    return ModelSettings.model_validate({"base": base, "dtype": "float32", "idle_s": 60} | changed)


@pytest.fixture
def engine(home: Home, base: Path) -> Iterator[IsolatedEngine]:
    with closing(IsolatedEngine(home, settings(base), threading.Event())) as engine:
        yield engine


def theta(home: Home) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, home.layout.size).astype(np.float32)


def measure(engine: IsolatedEngine | TorchEngine, home: Home) -> list[float]:
    probes: dict[str, list[Probe]] = {
        "text": [*TEXTS],
        "refusal": [RefusalProbe("pain", "muscle tone", "heart")],
    }
    measured = engine.losses([theta(home), np.zeros_like(theta(home))], probes)
    return [float(x) for by_source in measured for s in probes for x in by_source[s]]


def until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def worker_of(engine: IsolatedEngine) -> psutil.Process:
    assert engine.pid is not None
    return psutil.Process(engine.pid)


def test_it_computes_what_an_engine_here_computes(
    engine: IsolatedEngine, home: Home, base: Path
) -> None:
    here = TorchEngine(home, settings(base), threading.Event())
    assert measure(engine, home) == pytest.approx(measure(here, home), rel=1e-5)
    args = (theta(home), TEXTS[:4], TRAINING, 3, OLD, ONLY_NEW)
    theirs, ours = engine.train(*args), here.train(*args)
    np.testing.assert_allclose(theirs.delta, ours.delta, atol=1e-4)
    assert (theirs.seen, theirs.tokens) == (ours.seen, ours.tokens)


def test_an_error_travels_with_its_code_and_the_process_goes_on(home: Home, base: Path) -> None:
    wrong = settings(base.parent / "gone")
    with closing(IsolatedEngine(home, wrong, threading.Event())) as engine:
        pids = set()
        for _ in range(2):
            with pytest.raises(NodeError) as e:
                measure(engine, home)
            assert e.value.code == "no-base"
            assert str(wrong.base) in e.value.sentence
            pids.add(engine.pid)
        assert len(pids) == 1


def test_what_a_library_raises_is_one_sentence(engine: IsolatedEngine, home: Home) -> None:
    with pytest.raises(NodeError) as e:
        engine.losses([np.zeros(3, np.float32)], {"text": TEXTS})
    assert e.value.code == "computing-failed"
    assert "theta has shape" in e.value.sentence


def test_a_process_that_is_killed_while_it_computes_is_an_error_and_the_next_one_computes(
    engine: IsolatedEngine, home: Home
) -> None:
    expected = measure(engine, home)
    worker = worker_of(engine)
    killer = threading.Thread(target=_kill_when_busy, args=(worker,))
    killer.start()
    with pytest.raises(NodeError) as e:
        engine.train(theta(home), TEXTS, LONG, 0, {}, ONLY_NEW)
    killer.join()
    assert (e.value.code, "signal 9" in e.value.sentence) == ("engine-died", True)
    assert measure(engine, home) == pytest.approx(expected)
    assert engine.pid != worker.pid


def test_a_process_that_was_killed_while_idle_is_replaced(
    engine: IsolatedEngine, home: Home
) -> None:
    expected = measure(engine, home)
    assert engine._worker is not None
    process = engine._worker.process
    process.kill()
    process.wait()  # a process with threads may be a zombie, and its connection open
    assert measure(engine, home) == pytest.approx(expected)


def test_it_ends_when_it_is_idle_but_not_while_it_is_kept(home: Home, base: Path) -> None:
    idle = settings(base, idle_s=0)
    with closing(IsolatedEngine(home, idle, threading.Event())) as engine:
        with engine.keep_loaded():
            measure(engine, home)
            kept = worker_of(engine)
            measure(engine, home)
            assert engine.pid == kept.pid
        until(lambda: engine.pid is None and ended(kept))
    always = settings(base, idle_s=0, keep_loaded=True)
    with closing(IsolatedEngine(home, always, threading.Event())) as engine:
        measure(engine, home)
        assert engine.pid is not None


def test_a_stop_ends_what_computes(home: Home, base: Path) -> None:
    stop = threading.Event()
    with closing(IsolatedEngine(home, settings(base), stop)) as engine:
        measure(engine, home)
        worker = worker_of(engine)
        threading.Thread(target=_when_busy, args=(worker, stop.set)).start()
        with pytest.raises(NodeError) as e:
            engine.train(theta(home), TEXTS, LONG, 0, {}, ONLY_NEW)
        assert e.value.code == "stopped"
        assert ended(worker)


def test_it_ends_with_its_parent_also_when_that_is_killed(home: Home, base: Path) -> None:
    """While it computes: the parent's end is all that could tell it."""
    script = f"""
import threading
from pathlib import Path
import numpy as np
from aggregation.replay import ONLY_NEW
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.learning.isolated import IsolatedEngine
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home

home = open_home(Path({str(home.folder)!r}), SystemClock().now_ms())
model = ModelSettings(base=Path({str(base)!r}), dtype="float32")
engine = IsolatedEngine(home, model, threading.Event())
zero = np.zeros(home.layout.size, np.float32)
engine.losses([zero], {{"text": {TEXTS!r}}})
print("worker", engine.pid, flush=True)
training = TrainingSettings(steps=100000, batch_size=8, max_tokens=32)
engine.train(zero, {TEXTS!r}, training, 0, {{}}, ONLY_NEW)
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with started(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        line = next(line for line in parent.stdout if line.startswith("worker"))
        worker = psutil.Process(int(line.split()[1]))
        _when_busy(worker, lambda: os.kill(parent.pid, signal.SIGKILL))
        gone, _ = psutil.wait_procs([worker], timeout=WAIT_S)
        assert gone


def test_a_parent_that_closed_the_connection_ends_it() -> None:
    """``main`` returns, rather than raises, when nobody is there any more."""
    script = f"""
import os, socket
from {main.__module__} import main
ours, theirs = socket.socketpair()
ours.close()
main(theirs.detach())
print("ended")
"""
    with started(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "ended\n"
        assert p.wait(WAIT_S) == 0


def test_torch_is_never_loaded_where_the_node_is(home: Home, base: Path) -> None:
    script = f"""
import sys, threading
from pathlib import Path
import numpy as np
from aggregation.replay import ONLY_NEW
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.learning.isolated import IsolatedEngine
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home
import nodes.daemon, nodes.child.child, nodes.parent.parent, nodes.flower.apps

home = open_home(Path({str(home.folder)!r}), SystemClock().now_ms())
model = ModelSettings(base=Path({str(base)!r}), dtype="float32")
engine = IsolatedEngine(home, model, threading.Event())
zero = np.zeros(home.layout.size, np.float32)
training = TrainingSettings(steps=2, batch_size=2, max_tokens=32)
learned = engine.train(zero, {TEXTS!r}, training, 0, {{}}, ONLY_NEW)
assert learned.delta.any()
engine.close()
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT_S * 2
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr


def _kill_when_busy(worker: psutil.Process) -> None:
    _when_busy(worker, worker.kill)


def _when_busy(worker: psutil.Process, act: object) -> None:
    """Act once the process has begun to compute: it uses the processor."""
    assert callable(act)
    before = worker.cpu_times().user
    until(lambda: worker.cpu_times().user > before + 0.2)
    act()
