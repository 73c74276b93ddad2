"""Tiny untrained language models with one token per word of the sample texts, for the smallest scale."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from readout.data import SampleText
from readout.extractors import LanguageModel

library: Any = transformers  # its types differ between admitted versions

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES = {
    "bert": {"intermediate_size": 32, "pad_token_id": 0},
    "llama": {"intermediate_size": 32, "num_key_value_heads": 2},
}
"""Arguments of a kind's configuration beside the common ones."""


def tiny_language_model(kind: str, folder: Path) -> LanguageModel:
    """Build a model of two blocks of width 24, with seeded random weights and one token per word.

    Args:
        kind: ``bert``, an encoder, or ``llama``, a causal decoder.
        folder: Folder that keeps the model, so that later runs use the same.
    """
    if not (folder / "config.json").exists():
        tokenizer = _tokenizer()
        config = library.AutoConfig.for_model(
            kind,
            vocab_size=len(tokenizer),
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            initializer_range=0.2,  # large enough for the blocks to matter
            **SIZES[kind],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = library.AutoModel.from_config(config)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return LanguageModel(str(folder))


def _tokenizer() -> Any:
    splitter, cases = pre_tokenizers.Whitespace(), normalizers.Lowercase()
    words: dict[str, None] = {}
    for _, text in SampleText(max_tokens=8).documents():
        words |= {word: None for word, _ in splitter.pre_tokenize_str(cases.normalize_str(text))}
    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = cases, splitter
    frame = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    return library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
