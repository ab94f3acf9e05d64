"""Our training step against transformers' Trainer with PEFT LoRA, on the same documents.

Every repetition of every contestant is a process of its own, so that memory and threads are clean,
and repetitions take turns, so that a busy minute meets all. Only predicted tokens count, never
padding. Ours makes a step to warm up and throws it away; of Trainer's the first is not timed.
Tokens per second of CPU are there for machines that others use too. A contestant that is out of
time stops after the step it is in, and the result says how many steps it made. Knows neither
networks nor nodes.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CONTESTANTS = {
    "ours": "Banyan, B only",
    "trainer": "Trainer + PEFT LoRA r=8",
    "trainer-bf16": "Trainer + PEFT LoRA r=8, bf16=True",
}
TARGETS = ("q_proj", "v_proj")
HELD_OUT = 16
"""Documents that nobody trains on, measured after training."""


@dataclass(frozen=True)
class Job:
    """What one process does. ``texts`` is a JSON file; its last documents are held out."""

    contestant: str
    base: str
    texts: str
    steps: int
    batch_size: int
    rank: int
    budget_s: float
    learning_rate: float = 5e-3
    max_tokens: int = 128
    seed: int = 0
    threads: int = 0


def run(
    base: Path,
    *,
    steps: int = 12,
    batch_size: int = 8,
    repeats: int = 3,
    rank: int = 16,
    budget_s: float = 120.0,
    threads: int = 0,
    texts: Sequence[str] | None = None,
    on_run: Callable[[dict[str, Any]], None] = lambda _run: None,
) -> dict[str, Any]:
    """Race the contestants.

    Args:
        rank: R of ours; LoRA has r=8, which trains more parameters than R=16 does.
        budget_s: seconds of training for one repetition; always at least one step. A process that
            does not end within ten times that is stopped and counted as not finished.
        threads: of each process; 0 leaves torch's choice.
        texts: the documents; the nervous system of the HPO when there are none.
    """
    if texts is None:
        from simulations.datasets.hpo import definitions

        texts = definitions("nervous")
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts.json")
        file.write_text(json.dumps(list(texts)), "utf-8")
        for repeat in range(repeats):
            for contestant in CONTESTANTS:
                if any(r["contestant"] == contestant and not r["steps"] for r in runs):
                    continue  # it did not make one step: no point in waiting again
                job = Job(
                    contestant=contestant,
                    base=str(base),
                    texts=str(file),
                    steps=steps,
                    batch_size=batch_size,
                    rank=rank,
                    budget_s=budget_s,
                    seed=repeat,
                    threads=threads,
                )
                runs.append(_in_process(job))
                on_run(runs[-1])
    return {"settings": asdict(job), "runs": runs, "summary": summarise(runs)}


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each contestant the medians over its repetitions, and the ratio of ours to its speed.

    ``ratio`` is the median of the ratios within a repetition, because those ran beside each other.
    """
    ours = {r["repeat"]: r["speed"] for r in runs if r["contestant"] == "ours"}
    summary: dict[str, dict[str, Any]] = {}
    for contestant in CONTESTANTS:
        own = [r for r in runs if r["contestant"] == contestant]
        made = [r for r in own if r["steps"]]
        if not made:
            summary[contestant] = {"repeats": len(own), "steps": 0}
            continue
        ratios = [ours[r["repeat"]] / r["speed"] for r in made if ours.get(r["repeat"])]
        summary[contestant] = {
            "repeats": len(made),
            "steps": statistics.median(r["steps"] for r in made),
            "speed": statistics.median(r["speed"] for r in made),
            "cpu_speed": statistics.median(r["cpu_speed"] for r in made),
            "slowest": min(r["speed"] for r in made),
            "fastest": max(r["speed"] for r in made),
            "ratio": statistics.median(ratios) if ratios else math.nan,
            "trained": made[0]["trained"],
            "precision": made[0]["precision"],
            "before": statistics.median(r["before"] for r in made),
            "after": statistics.median(r["after"] for r in made),
            "peak_bytes": statistics.median(r["peak_bytes"] for r in made),
        }
    return summary


def print_table(result: Mapping[str, Any]) -> None:
    """Show the medians; a contestant cut by its budget says how many steps it made."""
    settings = result["settings"]
    table = Table(
        title=f"Training, batches of {settings['batch_size']} documents, predicted tokens only"
    )
    for column in (
        "contestant", "precision", "parameters", "steps", "tokens/s", "tokens/CPU s",
        "ours is faster by", "held-out loss", "peak memory",
    ):  # fmt: skip
        table.add_column(column)
    for contestant, label in CONTESTANTS.items():
        line = result["summary"].get(contestant, {"steps": 0})
        if not line["steps"]:
            table.add_row(label, "", "", "not one in its time", *"–––––")
            continue
        cut = line["steps"] < settings["steps"]
        table.add_row(
            label,
            line["precision"],
            f"{line['trained']:,}",
            f"{line['steps']:g} of {settings['steps']}, out of time" if cut else f"{line['steps']}",
            f"{line['speed']:.1f} ({line['slowest']:.1f}–{line['fastest']:.1f})",
            f"{line['cpu_speed']:.1f}",
            "" if contestant == "ours" else f"{line['ratio']:.2f}×",
            f"{line['before']:.3f} → {line['after']:.3f}",
            f"{line['peak_bytes'] / 2**20:.0f} MiB",
        )
    Console().print(table)


def _in_process(job: Job) -> dict[str, Any]:
    """Run one job in a process of its own; ``steps`` is 0 when it did not finish one."""
    environment = dict(os.environ)
    if job.threads:
        environment["OMP_NUM_THREADS"] = str(job.threads)
    command = [sys.executable, "-m", "simulations.bench.training", json.dumps(asdict(job))]
    empty = {"contestant": job.contestant, "repeat": job.seed, "steps": 0, "speed": 0.0}
    limit = 10 * job.budget_s + 60
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {**empty, "error": f"not finished after {limit:.0f} s"}
    if done.returncode:
        return {**empty, "error": done.stderr.strip()[-2000:]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "contestant": job.contestant, "repeat": job.seed}


def _contest(job: Job) -> dict[str, Any]:
    """Do one job in this process."""
    import torch

    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    texts = json.loads(Path(job.texts).read_text("utf-8"))
    result = (_ours if job.contestant == "ours" else _trainer)(job, texts)
    return {**result, "peak_bytes": _peak_bytes(), "threads": torch.get_num_threads()}


def _ours(job: Job, texts: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    from nodes.model.base import load_base
    from nodes.model.basis import draw_basis
    from nodes.model.effective import EffectiveModel
    from nodes.model.layout import Layout
    from nodes.model.learner import Training, train

    layout = Layout.of_model(load_base(job.base)[0], TARGETS, job.rank)
    model = EffectiveModel(job.base, layout, draw_basis(layout, 0))
    documents = model.tokenize(texts, job.max_tokens)
    before = _held_out_loss(model.model, documents[-HELD_OUT:])
    settings = Training(
        steps=1,
        batch_size=job.batch_size,
        learning_rate=job.learning_rate,
        max_tokens=job.max_tokens,
        rank=job.rank,
        seed=job.seed,
    )
    theta, learning = np.zeros(layout.size, np.float32), texts[:-HELD_OUT]
    first = train(model, theta, learning, settings)  # also tells how many steps fit
    fit = max(1, min(job.steps, int(job.budget_s / first.seconds)))
    cpu = time.process_time()
    learned = train(model, theta, learning, Training(**{**asdict(settings), "steps": fit}))
    cpu = time.process_time() - cpu
    model.set_theta(learned.delta)
    return {
        "steps": fit,
        "speed": learned.tokens / learned.seconds,
        "cpu_speed": learned.tokens / cpu,
        "trained": layout.size,
        "precision": str(model.model.dtype).removeprefix("torch."),
        "before": before,
        "after": _held_out_loss(model.model, documents[-HELD_OUT:]),
    }


def _trainer(job: Job, texts: Sequence[str]) -> dict[str, Any]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    plain = AutoModelForCausalLM.from_pretrained(job.base, dtype=torch.float32)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    model = get_peft_model(plain, lora)
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    documents = [[*of[: job.max_tokens - 1], tokenizer.eos_token_id] for of in ids]
    before = _held_out_loss(model, documents[-HELD_OUT:])
    pad = DataCollatorForSeq2Seq(tokenizer, padding=True)
    counts: list[int] = []  # predicted tokens of each batch, in the order they are trained on
    # When each step ended, and the CPU time then; the first is when training began.
    ends: list[float] = []
    cpu: list[float] = []

    def collate(rows: list[dict[str, list[int]]]) -> Any:
        batch = pad(rows)
        counts.append(int((batch["labels"][:, 1:] != -100).sum()))
        return batch

    class Watch(TrainerCallback):  # type: ignore[misc]  # untyped base
        """Notes the time of every step and ends the training when the budget is spent."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())
            cpu.append(time.process_time())

        def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
            ends.append(time.monotonic())
            cpu.append(time.process_time())
            if ends[-1] - ends[0] > job.budget_s:
                control.should_training_stop = True
            return control

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=job.steps,
            per_device_train_batch_size=job.batch_size,
            learning_rate=job.learning_rate,
            warmup_steps=max(1, job.steps // 10),
            bf16=job.contestant == "trainer-bf16",
            use_cpu=True,
            seed=job.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        rows = [{"input_ids": of, "labels": of} for of in documents[:-HELD_OUT]]
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collate,
            callbacks=[Watch()],
        )
        trainer.train()
    made = len(ends) - 1
    timed = range(1, made) if made > 1 else range(made)
    tokens, first, last = sum(counts[i] for i in timed), timed.start, timed.stop
    return {
        "steps": made,
        "speed": tokens / (ends[last] - ends[first]),
        "cpu_speed": tokens / (cpu[last] - cpu[first]),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "precision": "bfloat16 autocast" if arguments.bf16 else "float32",
        "before": before,
        "after": _held_out_loss(model, documents[-HELD_OUT:]),
    }


def _held_out_loss(model: Any, documents: Sequence[Sequence[int]]) -> float:
    """Mean loss per predicted token, one document after the other, the same for everybody."""
    import torch
    from torch.nn import functional as F  # noqa: N812  its usual name

    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for document in documents:
            ids = torch.tensor([document])
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            total += float(F.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += len(document) - 1
    return total / count


def _peak_bytes() -> int:
    """The most memory that this process had at once."""
    try:
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: what the system counts, which may include the parent's before exec
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(_contest(Job(**json.loads(sys.argv[1])))) + "\n")
