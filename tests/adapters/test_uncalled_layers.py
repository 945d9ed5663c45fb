"""unfit.py, watch.py and fast_path.py: layers whose weight is read around their adapter, beside stock LoRA."""

from __future__ import annotations

import copy
import io

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import INERT, expecting, largest_difference

OURS = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def siglip() -> nn.Module:
    """Its own attention calls an out_proj, and the pooling head's nn.MultiheadAttention does not."""
    config = transformers.SiglipVisionConfig(**SIZES, image_size=8, patch_size=4)
    return transformers.SiglipVisionModel(config).eval()


def mamba() -> nn.Module:
    return transformers.MambaForCausalLM(
        transformers.MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=32, state_size=4, time_step_rank=4)
    ).eval()


def adapted(model: nn.Module, cls: type, targets: object) -> peft.PeftModel:
    start = "init_lora_weights" if cls is peft.LoraConfig else "init_weights"
    return peft.get_peft_model(model, cls(r=2, target_modules=targets, **{start: False})).eval()


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_all_linear_leaves_out_what_multihead_attention_never_calls(cls, tmp_path):
    name, images = "head.attention.out_proj", torch.randn(1, 3, 8, 8)
    with pytest.warns(RuntimeWarning, match=rf"left as they are: 1 layer \({name}\): nn.MultiheadAttention reads"):
        model = adapted(siglip(), cls, "all-linear")
    adapters = {key.split(".glora")[0].split(".gralora")[0] for key, p in model.named_parameters() if p.requires_grad}
    assert f"base_model.model.{name}" not in adapters
    assert "base_model.model.encoder.layers.1.self_attn.out_proj" in adapters
    expected = model(images).pooler_output
    model.save_pretrained(tmp_path)  # which writes names, and not "all-linear"
    torch.manual_seed(0)
    base = siglip()
    base.load_state_dict(
        {k.replace("base_layer.", ""): v for k, v in model.base_model.model.state_dict().items() if "lora_" not in k}
    )
    assert torch.equal(peft.PeftModel.from_pretrained(base, tmp_path).eval()(images).pooler_output, expected)


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_named_it_is_refused_with_what_to_write(cls):
    with pytest.raises(ValueError, match=r"1 layer \(head.attention.out_proj\): .*Put them into `exclude_modules`"):
        adapted(siglip(), cls, ["q_proj", "out_proj"])
    config = cls(r=2, target_modules=["q_proj", "out_proj"], exclude_modules=["head.attention.out_proj"])
    assert peft.get_peft_model(siglip(), config).get_model_status().num_adapter_layers == 4


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_the_out_proj_of_a_state_space_model_is_refused_as_peft_does(cls):
    with pytest.raises(ValueError, match="incompatible with Mamba-based models"):
        adapted(mamba(), peft.LoraConfig, ["out_proj"])
    with pytest.raises(ValueError, match=r"mixer.out_proj\): the kernels of mamba read its weight"):
        adapted(mamba(), cls, ["out_proj"])
    left_out = r"left as they are: 1 layer \(backbone.layers.0.mixer.out_proj\)"
    with expecting(INERT), pytest.warns(RuntimeWarning, match=left_out):
        model = adapted(mamba(), cls, "all-linear")
    assert model.get_model_status().num_adapter_layers == 3


def wavlm() -> nn.Module:
    config = transformers.WavLMConfig(
        **SIZES, conv_dim=(8,), conv_kernel=(4,), conv_stride=(4,), num_feat_extract_layers=1,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, num_buckets=8,
    )  # fmt: skip
    return transformers.WavLMModel(config).eval()


class Reading(nn.Module):
    """Computes from the weight of `inner`, when told to; and looks at its type, as T5 does, when it calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.spare = nn.Linear(6, 6), nn.Linear(6, 6)
        self.reads, self.uses_spare = (True, False), False  # in training, in evaluation

    def forward(self, x: Tensor) -> Tensor:
        if self.reads[0 if self.training else 1]:
            x = nn.functional.linear(x, self.inner.weight)
        else:
            x = self.inner(x.to(self.inner.weight.dtype))
        return self.spare(x) if self.uses_spare else x


def reading(cls: type, targets: object = ("inner",), **behaviour: object) -> peft.PeftModel:
    base = nn.Sequential(Reading(), Reading())
    for module in base:
        vars(module).update(behaviour)
    return adapted(base, cls, list(targets))


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_wavlm_says_that_its_attention_reads_the_weights(cls):
    """Stock LoRA has no gradient there, no effect, and merges something else, without a word."""
    sound = torch.randn(1, 64)
    model = adapted(wavlm(), cls, ["q_proj", "v_proj"])
    with pytest.warns(RuntimeWarning, match=r"WavLMAttention computes from the weight of .*_proj") as caught:
        model(sound)
    (said,) = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert "q_proj" in said and "v_proj" in said and "4 layers" in said and "layers.1.attention" in said
    model(sound)  # warnings are errors here: said once
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for merge in (model.merge_adapter, model.base_model.merge_and_unload):
        with pytest.raises(ValueError, match="has never been called: the module around it computes from its weight"):
            merge()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert hooks_of(model.unload()) == hooks_of(wavlm())


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_the_dt_proj_of_mamba(cls):
    targets = ["dt_proj", "in_proj"]
    with expecting(INERT):
        model = adapted(mamba(), cls, targets) if cls is GloraConfig else peft.get_peft_model(
            mamba(), cls(r=2, target_modules=targets, k_pattern={"dt_proj": 1}, init_weights=False)
        ).eval()  # fmt: skip
    with pytest.warns(RuntimeWarning, match=r"MambaMixer computes from the weight of dt_proj and does not call it"):
        model(torch.arange(6)[None])
    with pytest.raises(ValueError, match=r"mixer.dt_proj' has never been called"):
        model.merge_adapter()


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_a_layer_that_is_called_leaves_no_hook_and_no_word(cls):
    model, x = reading(cls, reads=(False, False)), torch.randn(2, 6)
    assert hooks_of(model) > 0
    model(x)
    assert hooks_of(model) == 0
    model.train()
    model(x).sum().backward()
    assert hooks_of(model) == 0
    model.eval()
    model.train()
    assert hooks_of(model) == 0
    model.merge_adapter()


def test_each_mode_is_looked_at():
    """Called in training, read in evaluation: said at the first evaluation, and merging is what mends it."""
    model, x = reading(GloraConfig, reads=(False, True)), torch.randn(2, 6)
    model.train()
    model(x)
    model.eval()
    with pytest.warns(RuntimeWarning, match="In evaluation, Reading computes from the weight of inner"):
        model(x)
    model.merge_adapter()
    assert model.get_model_status().merged_adapters == ["default"]


def test_a_layer_that_is_left_aside():
    model, x = reading(GloraConfig, ["inner", "spare"], reads=(False, False)), torch.randn(2, 6)
    with pytest.warns(RuntimeWarning, match=r"Reading ran and left aside spare .*no effect so far.*2 layers"):
        model(x)
    model.merge_adapter()  # which changes nothing there


def test_a_module_that_did_not_run_is_no_evidence():
    model, x = reading(GloraConfig), torch.randn(2, 6)
    first, second = model.base_model.model
    vars(first)["reads"] = (False, False)
    first(x)
    assert second._forward_hooks and not first._forward_hooks
    second.inner.check_called()


def test_the_watch_survives_copies_pickling_checkpointing_and_compiling():
    x = torch.randn(2, 6)
    for way in ("copy", "pickle", "checkpoint", "compile"):
        model = reading(GloraConfig, reads=(True, True))
        torch._dynamo.reset()
        run = model
        if way == "copy":
            run = copy.deepcopy(model)
        if way == "pickle":
            buffer = io.BytesIO()
            torch.save(model, buffer)
            buffer.seek(0)
            run = torch.load(buffer, weights_only=False)
        if way == "compile":  # what is traced is no evidence; the model itself is
            torch.compile(model, backend="eager", fullgraph=True)(x)
        with pytest.warns(RuntimeWarning, match="computes from the weight of inner"):
            checkpoint(run, x.requires_grad_(), use_reentrant=True) if way == "checkpoint" else run(x)
        with pytest.raises(ValueError, match="never been called"):
            run.merge_adapter()


def encoder(**settings) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, **settings)
    return nn.TransformerEncoder(layer, 2).eval()


@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_torchs_encoder_calls_its_adapted_layers_in_evaluation(cls):
    """Stock LoRA does nothing there: torch's fast path reads the weights."""
    x, base = torch.randn(2, 5, 16), encoder()
    plain = base(x).detach()
    stock = adapted(copy.deepcopy(base), peft.LoraConfig, ["linear1", "linear2"])
    assert largest_difference(stock(x), plain) < 1e-5
    model = adapted(base, cls, ["linear1", "linear2"])
    training = model.train()(x).detach()
    assert largest_difference(training, plain) > 0.01
    model.eval()
    assert largest_difference(model(x), training) < 1e-5
    with torch.no_grad():
        assert largest_difference(model(x), training) < 1e-5
    restored = model.unload()
    assert hooks_of(restored) == 0 and restored.use_nested_tensor is True
    assert largest_difference(restored(x), plain) < 1e-5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("cls", OURS.values(), ids=OURS)
def test_a_padded_batch_in_torchs_encoder(cls):
    """Packed without gradients, as without adapters; with gradients, its attention would refuse what is packed."""
    x, mask = torch.randn(2, 5, 16), torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 3:] = True
    model = adapted(encoder(), cls, ["linear1", "linear2"])
    with torch.no_grad():
        packed = model(x, src_key_padding_mask=mask)
    assert packed[0, 3:].count_nonzero() == 0
    model = copy.deepcopy(model)
    out = model(x, src_key_padding_mask=mask)
    out[~mask].sum().backward()
    assert largest_difference(out[~mask], packed[~mask]) < 1e-5
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
