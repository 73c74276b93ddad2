"""The language models of the paper."""

from readout.extractors.language_model import LanguageModel


class BERT(LanguageModel):
    """BERT of Devlin et al. (2019), arXiv 1810.04805: an encoder of at most 512 tokens. See :class:`LanguageModel`."""

    model_types = ("bert",)

    def __init__(self, weights: str = "google-bert/bert-base-uncased", pretrained: bool = True, seed: int = 0) -> None:
        super().__init__(weights, pretrained=pretrained, seed=seed)


class GPT2(LanguageModel):
    """GPT-2 of Radford et al. (2019): a causal decoder of at most 1,024 tokens. See :class:`LanguageModel`.

    The released models are ``openai-community/gpt2``, ``…/gpt2-medium``, ``…/gpt2-large`` and ``…/gpt2-xl``.
    """

    model_types = ("gpt2",)

    def __init__(
        self,
        weights: str = "openai-community/gpt2",
        gguf_file: str | None = None,
        pretrained: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(weights, gguf_file, pretrained, seed)


class OPT(LanguageModel):
    """OPT of Zhang et al. (2022), arXiv 2205.01068: a causal decoder of at most 2,048 tokens.

    Unlike its siblings, OPT-350m has post-layer norms, and projects embeddings of width 512 to its own width. See
    :class:`LanguageModel`.
    """

    model_types = ("opt",)

    def __init__(self, weights: str = "facebook/opt-350m", pretrained: bool = True, seed: int = 0) -> None:
        super().__init__(weights, pretrained=pretrained, seed=seed)
