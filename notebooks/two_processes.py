"""An adapter trained in two processes: with averaged gradients, and with the model cut in two.

    accelerate launch --multi_gpu --num_processes 2 two_processes.py --out adapters

(The flag is the one that starts processes; no GPU is needed. `torchrun --nproc-per-node 2` does as well.)

`ddp`: each process holds the whole model, reads its part of the batch, and the gradients are averaged
(DistributedDataParallel, by accelerate). `fsdp`: each process holds its part of every tensor alone, base and adapter,
and a block's tensors are gathered while the block runs (FSDP2, by torch, for accelerate's own asks for a GPU). Each
saves the adapter as one ordinary checkpoint, with `gradients.safetensors` of the first step beside it.
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
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


def sharded(adapted: PeftModel) -> nn.Module:
    """The model with its tensors cut along their first axis, a part for each process; a block at a time is whole."""
    processes = init_device_mesh("cpu", (torch.distributed.get_world_size(),))  # on a machine with GPUs as well
    for block in adapted.get_base_model().model.layers:
        fully_shard(block, mesh=processes)
    return fully_shard(adapted, mesh=processes)


def whole(gradient: Tensor) -> Tensor:
    return gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient.clone()


def train(accelerator: Accelerator, way: str, adapter: str, out: Path, steps: int) -> None:
    adapted = get_peft_model(language_model(), ADAPTERS[adapter])
    model = sharded(adapted) if way == "fsdp" else accelerator.prepare(adapted)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    batch = torch.randint(256, (8, 32), generator=torch.Generator().manual_seed(1))
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    first: dict[str, Tensor] = {}
    for step in range(steps):
        loss = model(input_ids=mine, labels=mine).loss
        accelerator.backward(loss)
        first = first or {name: whole(p.grad) for name, p in trained.items()}
        optimizer.step()
        optimizer.zero_grad()
        accelerator.print(f"{way}, step {step}: loss {accelerator.reduce(loss.detach(), 'mean').item():.4f}")
    accelerator.wait_for_everyone()  # so that the lines below come after the steps
    held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in adapted.parameters())
    every = sum(p.numel() for p in adapted.parameters())
    print(f"{way}, process {accelerator.process_index} holds {held:,} of {every:,}\n", end="", flush=True)
    # every process takes part in gathering the tensors, and the first one writes them
    tensors = get_model_state_dict(adapted, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    adapted.save_pretrained(out, state_dict=tensors, is_main_process=accelerator.is_main_process)
    if accelerator.is_main_process:
        save_file(first, out / "gradients.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--how", nargs="+", choices=["ddp", "fsdp"], default=["ddp", "fsdp"])
    parser.add_argument("--adapter", choices=list(ADAPTERS), default="glora")
    parser.add_argument("--out", type=Path, default=Path("adapters"))
    parser.add_argument("--steps", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    for way in asked.how:
        train(accelerator, way, asked.adapter, asked.out / way, asked.steps)
    accelerator.end_training()
