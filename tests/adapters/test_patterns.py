"""Regular expressions from a configuration: what would take too long is refused before anything runs it."""

from __future__ import annotations

import json
import re
import time

import peft
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import nn

from glora_lab import arguments
from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.adapters.tuner.targets import check_matching, pattern_key
from glora_lab.measure import xray
from glora_lab.regex_work import steps, worst

from .small_models import Net, bits, glora_model, same_bits

CONFIG = "adapter_config.json"
WRITTEN = [  # by people
    r".*\.(q_proj|k_proj)",
    r"model\.layers\.(1[0-9]|2[0-3])\.(self_attn|mlp)\..*",
    r"(?:.*\.)?(fc1|fc2)$",
    r"^(?!.*vision).*proj",
    r"^(?!.*(?:lm_head|embed_tokens)).*$",
    r"^((?!vision).)*proj$",
    r"(?:\w+\.)*q_proj",
    r"([^.]+\.)+[^.]+",
    r"[a-z]+(_[a-z]+)*_proj",
    r"(layers|blocks)(\.\d+)+",
    r".*layers.*(self_attn|mlp).*(q|k|v).*proj.*",
    r"^.*\d+.*\.(to_q|to_k|to_v|to_out\.0)$",
    r"(?i:.*Q_PROJ)",
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|k_proj|v_proj|o_proj"
    r"|gate_proj|up_proj|down_proj|proj|linear).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|o)))",
]
BACKTRACKS = [
    r"(([a-z0-9_.])+)+!",
    r"(.*)*",
    r"(.+)+$",
    r"(a|aa)+$",
    r"((a)|(a))*b",
    r"(a*)*$",
    r"([a-z]+)*!",
    r"(\w+\s?)*!",
    r"(x+x+)+y",
    r"(?:a|b|ab)*c",
    r"(.*\.)*q",
    r"(.*.*.*.*.*.*)!",
    r"(.*){10}!",
    r"(a?){30}a{30}",
    "a?" * 40 + "a" * 40,
    r"(?=(a+)+b)a",
    r"(?i:(k|K)+x)+(kx)*!",
    r"((a{1,5}){1,5}){1,9}!",
    "(" * 5000 + ")" * 5000,
    "(" * 300 + "a" + ")*" * 300,
    "(?i)" + "[\0-\U0010ffff]" * 1000,
    "a|" * 2_500_000,
    "(a|b)*" * 10_000,
]
FIELDS = {
    "target_modules": lambda pattern: {"target_modules": pattern},
    "exclude_modules": lambda pattern: {"exclude_modules": pattern},
    "modules_to_save": lambda pattern: {"modules_to_save": [pattern]},
    "layers_pattern": lambda pattern: {"layers_pattern": [pattern], "layers_to_transform": [0]},
    "rank_pattern": lambda pattern: {"rank_pattern": {pattern: 3}},
    "alpha_pattern": lambda pattern: {"alpha_pattern": {pattern: 3}},
}


def refused_in_time(call, *, seconds: float = 2) -> str:
    """The refusal's words. Seconds of this process: those of a busy machine are longer."""
    start = time.process_time()
    with pytest.raises(ValueError) as caught:
        call()
    assert time.process_time() - start < seconds and len(str(caught.value)) <= 1_000
    return str(caught.value)


@pytest.mark.parametrize("pattern", BACKTRACKS, ids=lambda pattern: pattern[:24])
def test_what_backtracks_is_refused_at_once_and_in_words(pattern):
    said = refused_in_time(lambda: GloraConfig(target_modules=pattern))
    assert said.startswith("`target_modules` (='") and "must be" in said


@pytest.mark.parametrize("cls", [GloraConfig, GraloraConfig])
@pytest.mark.parametrize("field", FIELDS)
def test_in_every_setting_that_is_matched_with_names(field, cls):
    given_settings = {"target_modules": ["fc1"], **FIELDS[field](r"(([a-z0-9_.])+)+!")}
    assert refused_in_time(lambda: cls(**given_settings)).startswith(f"`{field}")


@pytest.mark.parametrize("field, cls", [("path_pattern", GloraConfig), ("k_pattern", GraloraConfig)])
def test_in_patterns_of_our_own(field, cls):
    value = {"path_pattern": {"A": "none"}, "k_pattern": 2}[field]
    assert refused_in_time(lambda: cls(**{field: {"(a+)+b": value}})).startswith(f"`{field} key` (='(a+)+b')")


@pytest.mark.parametrize("pattern", WRITTEN, ids=lambda pattern: pattern[:24])
def test_what_people_write_is_taken_and_is_quick_on_any_name(pattern):
    for larger in ("{}", arguments.KEY, arguments.SAVED):
        arguments.check_regex("x", pattern, larger)
    words = ["a", ".", "proj", "layers.", "q_proj.", "self_attn.", "layers.1.mlp.q.", "language.attn.proj.", "1", "_a"]
    names = [(word * 128)[:length] for word in words for length in (127, 128)]
    start = time.process_time()
    for name in [*names, *(name + "!" for name in names)]:
        re.fullmatch(pattern, name)
        re.match(arguments.KEY.format(pattern), name)
    assert time.process_time() - start < 20  # milliseconds; without the rule there is no end


def test_names_side_by_side_may_be_many():
    names = [f"model.layers.{n}.mlp.experts.{n % 7}.down_proj" for n in range(4_000)]
    assert GloraConfig(target_modules="|".join(map(re.escape, names)), rank_pattern=dict.fromkeys(names, 4))
    for value in (["x"] * 10_001, {f"x{n}": 4 for n in range(10_001)}):
        field = "target_modules" if isinstance(value, list) else "rank_pattern"
        said = refused_in_time(lambda field=field, value=value: GloraConfig(**{field: value}))
        assert "must have at most 10,000 entries, and has 10,001" in said


ATOMS = st.sampled_from(["a", "b", r"\.", ".", "[ab]", "[^.]", r"\w", r"\d", "ab", "aba"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map(lambda branches: f"(?:{'|'.join(branches)})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "{2,}", "*?", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        )
        | inner.map(lambda body: f"(?!{body})")
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, st.sampled_from(["", "!", "$", "b"]))
def test_whatever_is_taken_is_quick_on_any_name(expression, end):
    if worst(expression + end, 128) > arguments.MOST_STEPS:
        return
    start = time.process_time()
    for word in ("a", "ab", "aab", "a.b", ".", "1", "abb."):
        re.fullmatch(expression + end, (word * 128)[:128])
        re.fullmatch(expression + end, (word * 128)[:127] + "!")
    assert time.process_time() - start < 20


@given(EXPRESSIONS)
def test_of_one_name_no_more_is_estimated_than_of_the_worst(expression):
    for name in ("a" * 40, "a.b" * 20, "model.layers.3.q_proj"):
        assert steps(expression, name) <= worst(expression, len(name)) * 1.01


def test_patterns_that_are_too_much_together():
    config = GloraConfig(rank_pattern={f"{'.*[a-z]' * 3}x{n}": 4 for n in range(100)})
    said = refused_in_time(lambda: check_matching(config, [f"model.layers.{n}.self_attn.q_proj" for n in range(5_000)]))
    assert said.startswith("`rank_pattern` (=") and "5,000 names of up to 34 characters" in said
    check_matching(config, ["model.layers.0.self_attn.q_proj"])
    names = [f"language_model.layers.{n}.self_attn.{x}_proj" for n in range(1_000) for x in "qkvo"]
    check_matching(GloraConfig(target_modules=WRITTEN[-1]), names)  # words stand at few places in a real name


@pytest.mark.parametrize("name", ["a.encoder", "encoder", "decoder.q", "other"])
def test_keys_are_matched_as_peft_matches_them(name):
    keys = ["(?:enc|dec)oder", "encoder", ".*q", "a"]
    assert pattern_key(keys, name) == get_pattern_key(keys, name)


@pytest.mark.parametrize("field", ["target_modules", "rank_pattern"])
def test_a_strangers_file_is_refused_at_every_door(tmp_path, field):
    glora_model(Net()).save_pretrained(tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**content, **FIELDS[field](r"(([a-z0-9_.])+)+!")}))
    net = Net()
    before = bits(net)
    doors = [
        lambda: load_adapter(net, tmp_path),
        lambda: peft.PeftModel.from_pretrained(net, tmp_path),
        lambda: GloraConfig.from_pretrained(tmp_path),
        lambda: xray(tmp_path),
    ]
    for door in doors:
        assert f"`{field}" in refused_in_time(door)
    assert same_bits(net, before) and type(net.encoder) is nn.Linear


def test_long_names_in_a_file_are_counted_too(tmp_path):
    """X-ray matches patterns with the names in the file."""
    layer = "a." * 2_000 + "encoder"
    peft.get_peft_model(Net(), peft.LoraConfig(r=2, target_modules=["encoder"])).save_pretrained(tmp_path)
    rename(tmp_path, layer)
    content = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**content, "rank_pattern": {r".*\..*\.x": 2}}))
    assert "would take too long" in refused_in_time(lambda: xray(tmp_path))


def rename(folder, layer: str) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({name.replace("encoder", layer): tensor for name, tensor in load_file(path).items()}, path)
