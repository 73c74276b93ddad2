"""Tiny language models with seeded random weights and a tokenizer, saved as transformers does; for all text tests."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

DEPTH, WIDTH, HEADS, MAX_TOKENS = 4, 24, 3, 40

VOCABULARY = (
    "a the one two three cat dog bird fish man woman child king tree house river hill sun moon star stone book door "
    "sat ran slept ate saw found lost made gave took said went came on in under over by with from to and or but not "
    "red green blue old young big small long short quick slow warm cold . , ?"
)
WORDS = VOCABULARY.split()
"""What the tokenizers know, besides special tokens."""

TEXT = "the quick dog ran over the old stone house by the river , and the cat slept under a tree ."

SPECIAL: dict[str, list[str]] = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "gpt2": ["<|endoftext|>"],
    "opt": ["<s>", "<pad>", "</s>", "<unk>"],
    "llama": ["<unk>", "<s>", "</s>"],
}
"""Special tokens by the model type that has them; they come first in the vocabulary."""

FRAME = {"bert": ("[CLS]", "[SEP]"), "gpt2": (), "opt": ("</s>",), "llama": ("<s>",)}
"""What is put around a text: before, and after."""

KINDS = ("bert", "gpt2", "opt", "opt-350m", "llama")
"""What :func:`save_tiny` can make; ``opt-350m`` is an OPT built as that one alone is."""


def save_tiny(folder: Path, kind: str = "bert", **changes: Any) -> str:
    """A tiny model and its tokenizer as `save_pretrained` writes them.

    Args:
        folder: Where to.
        kind: One of :data:`KINDS`.
        changes: Entries of the configuration to change.

    Returns:
        The folder, for ``weights``.
    """
    config = tiny_config(kind, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network: Any = transformers.AutoModel.from_config(config)
        # as after training: layer norms and biases hold values of their own
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    tiny_tokenizer(config.model_type).save_pretrained(folder)
    return str(folder)


def tiny_config(kind: str, **changes: Any) -> Any:
    """Configuration of a model of :data:`DEPTH` blocks that are :data:`WIDTH` wide."""
    family = "opt" if kind == "opt-350m" else kind
    names = SPECIAL.get(family, [])
    size: dict[str, Any] = {
        "vocab_size": len(names) + len(WORDS),
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "initializer_range": 0.2,  # large enough for the blocks to matter
    }
    own: dict[str, dict[str, Any]] = {
        "bert": {"intermediate_size": 32, "pad_token_id": 0},
        "gpt2": {"bos_token_id": 0, "eos_token_id": 0},
        "opt": {"word_embed_proj_dim": WIDTH, "ffn_dim": 32, "init_std": 0.2, "dropout": 0.1},
        "opt-350m": {"word_embed_proj_dim": 16, "ffn_dim": 32, "init_std": 0.2, "do_layer_norm_before": False},
        "llama": {"intermediate_size": 32, "num_key_value_heads": 1},
    }
    return transformers.AutoConfig.for_model(family, **size | own.get(kind, {}) | changes)


def tiny_tokenizer(family: str) -> Any:
    """One token a word, with the special tokens of a family of models (:data:`SPECIAL`)."""
    names = SPECIAL[family]
    vocabulary = {token: place for place, token in enumerate([*names, *WORDS])}
    unknown = next((name for name in names if "unk" in name.lower()), names[0])
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = FRAME[family]
    if frame:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join([frame[0], "$A", *frame[1:]]), special_tokens=[(name, vocabulary[name]) for name in frame]
        )
    roles = {
        "bert": {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"},
        "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        "opt": {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"},
        "llama": {"bos_token": "<s>", "eos_token": "</s>"},
    }[family]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, **roles)


def write_gguf(path: Path, weights: str, leave_out: Collection[str] = ()) -> None:
    """A tiny Llama of :func:`save_tiny` as a GGUF file, with another tokenizer: letters, and ``ab`` and ``cd``.

    Args:
        path: The file.
        weights: The folder of the Llama.
        leave_out: Weights not to write.
    """
    network = transformers.LlamaModel.from_pretrained(weights)
    config: Any = network.config
    letters = [*"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab", "cd"]
    spare = [f"spare{number}" for number in range(config.vocab_size - len(SPECIAL["llama"]) - len(letters))]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*SPECIAL["llama"], *letters, *spare])
    writer.add_token_types([3] * len(SPECIAL["llama"]) + [1] * (len(letters) + len(spare)))
    writer.add_token_merges(["a b", "c d"])
    for add, token in ((writer.add_unk_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)):
        add(token)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in network.state_dict().items():
        values = tensor.numpy()
        for part, count in heads.items():
            if part in name:  # the format pairs what is rotated otherwise
                values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if name not in leave_out:
            found = names.get_name(f"model.{name}", try_suffixes=(".weight",))
            assert found is not None
            writer.add_tensor(found, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
