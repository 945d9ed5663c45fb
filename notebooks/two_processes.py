"""An adapter trained in one process, or in two: with the same gradients, or with the model cut in two.

    accelerate launch --cpu --num_processes 2 two_processes.py --how ddp --out two
    accelerate launch --cpu --num_processes 1 two_processes.py --how ddp --out one

`--how ddp`: each process holds the whole model, reads its part of the batch, and the gradients are averaged
(DistributedDataParallel, by accelerate). `--how fsdp`: each process also holds its part of every tensor alone, base
and adapter, and gathers a block's tensors while the block runs (FSDP2, by torch: accelerate's own wants a GPU).
Both save the adapter as one ordinary checkpoint, and `gradients.safetensors` of the first step beside it.
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import get_peft_model
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

from glora_lab import GloraConfig, GraloraConfig

TARGETS = ["q_proj", "v_proj", "down_proj"]
ADAPTERS = {
    "glora": GloraConfig(r=4, config_D_E="none", config_C="none", target_modules=TARGETS),  # Llama has no biases
    "gralora": GraloraConfig(r=8, gralora_k=2, target_modules=TARGETS),
}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def language_model() -> LlamaForCausalLM:
    """The same small Llama in every process, and in whoever reads the adapter back."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=256, max_position_embeddings=64, **SIZES))


def sharded(model):
    """The model with its tensors cut along their first axis, a part for each process; a block at a time is whole."""
    for block in model.get_base_model().model.layers:
        fully_shard(block)
    return fully_shard(model)


def whole(tensors):
    return {name: t.full_tensor() if hasattr(t, "full_tensor") else t for name, t in tensors.items()}


def main(how: str, adapter: str, out: Path, steps: int) -> None:
    accelerator = Accelerator(cpu=True)
    adapted = get_peft_model(language_model(), ADAPTERS[adapter])
    model = sharded(adapted) if how == "fsdp" else accelerator.prepare(adapted)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    batch = torch.randint(256, (8, 32), generator=torch.Generator().manual_seed(1))
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    gradients = {}
    for step in range(steps):
        loss = model(input_ids=mine, labels=mine).loss
        accelerator.backward(loss)
        gradients = gradients or whole({name: p.grad.clone() for name, p in trained.items()})
        optimizer.step()
        optimizer.zero_grad()
        accelerator.print(f"step {step}: loss {accelerator.reduce(loss.detach(), 'mean').item():.4f}")
    held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in adapted.parameters())
    print(f"process {accelerator.process_index} holds {held:,} of {sum(p.numel() for p in adapted.parameters()):,}")
    # every process takes part in gathering the tensors, the first one writes them
    tensors = get_model_state_dict(adapted, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    adapted.save_pretrained(out, state_dict=tensors, is_main_process=accelerator.is_main_process)
    if accelerator.is_main_process:
        save_file(gradients, out / "gradients.safetensors")
    accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--how", choices=["ddp", "fsdp"], default="ddp")
    parser.add_argument("--adapter", choices=list(ADAPTERS), default="glora")
    parser.add_argument("--out", type=Path, default=Path("adapter"))
    parser.add_argument("--steps", type=int, default=3)
    main(**vars(parser.parse_args()))
