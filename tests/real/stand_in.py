"""A tiny model with minilm's names, a task for it, and work that takes no time: the script's ways without minilm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from glora_lab.data import Task, task_from
from glora_lab.ideas.real.record import RealRun
from glora_lab.real.queue import RATES, Job

WORDS, TOKENS = 32, 6


def tiny_model() -> BertForSequenceClassification:
    """Two layers, 16 wide; the layers have the names of minilm's, and every k divides their sides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=32, num_labels=2, **still)).eval()


def tiny_task() -> Task:
    """Is the first word in the upper half of the vocabulary?"""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, WORDS, (96, TOKENS), generator=draw)
    labels, mask = (ids[:, 0] >= WORDS // 2).long(), torch.ones_like(ids)
    rows = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    parts = [{name: rows[name][n : n + 32] for name in rows} for n in (0, 32, 64)]
    return task_from(*parts)


def share(job: Job) -> float:
    """Best at 2e-3, or at the smallest rate for full fine-tuning; a point less for each rate away from that."""
    best = 0 if job.arm == "full fine-tuning" else RATES.index(2e-3)
    return 0.8 - 0.01 * abs(RATES.index(job.lr) - best)


def made_up(job: Job, lines: Sequence[dict[str, Any]], storage: Path, steps: int = 100) -> dict[str, Any]:
    """The line of a job, at once; what is made once is its name."""
    if not job.is_run:
        return {"once": job.arm, "result": {"of": len(lines)}, "steps": steps, "machine": {"device": "paper"}}
    run = RealRun(job.arm, job.budget, 7, job.lr, job.seed, share(job), share(job) - 0.1, 0.0)
    return {"run": asdict(run), "steps": steps, "machine": {"device": "paper"}}


def slowly(job: Job, lines: Sequence[dict[str, Any]], storage: Path, steps: int = 100) -> dict[str, Any]:
    time.sleep(0.02)
    return made_up(job, lines, storage, steps)


def main(journal: str, processes: int) -> None:
    """What is killed: work that never ends by itself in the time of a test."""
    from glora_lab.real.journal import Journal
    from glora_lab.real.work import work

    for _ in work(Journal(Path(journal)), processes=processes, do=slowly):
        pass


if __name__ == "__main__":
    import sys

    main(sys.argv[1], int(sys.argv[2]))
