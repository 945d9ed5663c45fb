"""path_budget counts what PEFT builds, for any method, without touching the model."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import GloraConfig as StockGloraConfig
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.measure import path_budget
from glora_lab.models.architectures import architecture
from glora_lab.records import PathCount


class Reader(nn.Module):
    """Two linear layers, the second without a bias."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 4, bias=False)

    def forward(self, x):
        return self.second(self.first(x))


BOTH = ["first", "second"]


def test_one_row_per_layer_and_path_with_the_reason_for_inert_ones():
    budget = path_budget(Reader(), GloraConfig(r=2, target_modules=BOTH, config_D_E="vector"))
    no_bias = 'the layer has no bias and bias_free="drop" adds none'
    assert budget.rows == (
        PathCount("first", "A", "lora", 22),
        PathCount("first", "B", "lora", 22),
        PathCount("first", "C", "lora", 14),
        PathCount("first", "D", "vector", 5),
        PathCount("first", "E", "vector", 5),
        PathCount("second", "A", "lora", 18),
        PathCount("second", "B", "lora", 18),
        PathCount("second", "C", "lora", 0, no_bias),
        PathCount("second", "D", "vector", 0, "the layer has no bias, so b0⊙D is zero"),
        PathCount("second", "E", "vector", 0, no_bias),
    )
    assert (budget.total, budget.model_params, budget.method) == (104, 55, "GLoRA")
    assert budget.by_path() == {"A": 40, "B": 40, "C": 14, "D": 5, "E": 5}
    assert budget.by_layer() == {"first": 68, "second": 36}


def test_the_model_is_left_as_it_was():
    model = Reader()
    before = {name: p.clone() for name, p in model.named_parameters()}
    path_budget(model, GloraConfig(r=2, target_modules=BOTH))
    assert [type(m) for m in model.modules()] == [Reader, nn.Linear, nn.Linear]
    assert all(torch.equal(p, before[name]) and p.requires_grad for name, p in model.named_parameters())


@pytest.mark.filterwarnings("ignore:Inert GLoRA paths")
@pytest.mark.parametrize(
    "config",
    [
        GloraConfig(r=3, target_modules=BOTH),
        GloraConfig.only(A="vector", E="constant", target_modules=BOTH),
        GloraConfig.only(C="lora", E="vector", bias_free="add", target_modules=BOTH),
        GloraConfig.only(A="lora", A_form="product", r=2, target_modules=["first"], modules_to_save=["second"]),
        StockGloraConfig(r=3, target_modules=BOTH),
        LoraConfig(r=3, target_modules=BOTH),
    ],
)
def test_the_total_is_what_trains(config):
    budget = path_budget(Reader(), config)
    model = get_peft_model(Reader(), config)
    assert budget.total == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert path_budget(model) == budget


def test_lora_is_a_row_of_path_b():
    budget = path_budget(Reader(), LoraConfig(r=2, target_modules=["first"]))
    assert budget.rows == (PathCount("first", "B", "lora", 22),)
    assert budget.method == "LoRA"


def test_gralora_costs_what_lora_of_its_rank_does():
    budget = path_budget(Reader(), GraloraConfig(r=2, gralora_k=1, target_modules=["first"]))
    assert budget.rows == (PathCount("first", "B", "GraLoRA", 22),)
    assert budget.method == "GraLoRA"


def test_stock_glora_drops_three_paths_and_we_say_so():
    budget = path_budget(Reader(), StockGloraConfig(r=2, target_modules=["second"]))
    assert budget.by_path() == {"A": 18, "B": 18, "C": 0, "D": 0, "E": 0}
    assert set(budget.inert()) == {"C", "D", "E"}


def test_a_model_with_an_adapter_is_budgeted_by_its_base():
    model = get_peft_model(Reader(), GloraConfig.only(E="vector", target_modules=["first"]))
    assert path_budget(model, LoraConfig(r=2, target_modules=["first"])).model_params == 55


def test_errors_are_those_of_training():
    with pytest.raises(ValueError, match=r"`target_modules`.*matches no layer"):
        path_budget(Reader(), GloraConfig(target_modules=["third"]))
    with pytest.raises(ValueError, match="carries no adapter"):
        path_budget(Reader())


def test_llama_8b_counts_by_hand():
    budget = path_budget(architecture("Llama-3-8B"), GloraConfig(r=8, target_modules=["q_proj", "down_proj"]))
    assert budget.model_params == 8_030_261_248
    per_layer = 8 * (4096 + 4096) + 8 * (14336 + 4096)
    assert budget.by_path() == {"A": 32 * per_layer, "B": 32 * per_layer, "C": 0, "D": 0, "E": 0}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read where Linux says it")
def test_llama_70b_takes_under_five_seconds_and_a_gigabyte():
    """Built and counted, in a process of its own. Of the processor's time: a machine that others load is not slow."""
    code = (
        "import re, time; from pathlib import Path; import torch; torch.set_num_threads(1);"
        "from glora_lab.adapters import GloraConfig; from glora_lab.measure import path_budget;"
        "from glora_lab.models import architecture, meta_model;"
        "start = time.process_time();"
        "b = path_budget(architecture('Llama-3-70B'), GloraConfig(target_modules='all-linear'));"
        "counted = time.process_time();"
        "meta_model(architecture('Llama-3-70B'));"
        "built = time.process_time();"
        # VmHWM and no ru_maxrss, which a child takes over from the process that starts it
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text());"
        "print(b.total, counted - start, built - counted, int(peak[1]) * 1024)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    total, counting, building, peak_bytes = map(float, run.stdout.split())
    assert total == 207_093_760
    assert max(counting, building) < 5
    assert peak_bytes < 1e9


def test_a_stock_path_that_nobody_asked_for_is_not_called_dropped():
    config = StockGloraConfig(r=2, config_C="none", config_D_E="vector", target_modules=["second"])
    rows = {row.path: row for row in path_budget(Reader(), config).rows}
    assert (rows["C"].mode, rows["C"].inert) == ("none", "")
    assert rows["D"].mode == "vector" and "drops it without a word" in rows["D"].inert
