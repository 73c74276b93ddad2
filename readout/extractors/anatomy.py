"""Finding a language model's blocks, its causality and whether it accepts embeddings, by running it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError, reason

TOLERANCE = 1e-4
"""Largest relative difference by rounding between features that should be equal."""


class Anatomy(NamedTuple):
    """Structure of a language model, as :func:`examine` finds it."""

    blocks: str
    """Path of the list of blocks."""
    final: bool
    """Whether modules follow the last block, so that its output is not the last hidden state."""
    causal: bool
    """Whether attention is causal: no position sees a later one."""


def examine(model: Any) -> Anatomy:
    """Run a language model on a few tokens to find what its code does not declare.

    Args:
        model: A base model of transformers (``AutoModel``), in evaluation mode and float32.

    Raises:
        ReadoutError: if its blocks can't be identified, it accepts no embeddings, or padding affects real tokens.
    """
    path = _list_of_blocks(model)
    blocks = list(model.get_submodule(path))
    ids = _tokens(model)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])  # the last token of the second row is padding
    embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
    try:
        state, seen = _watch(model, blocks, embeddings, mask)
        with torch.no_grad():
            alone = model(inputs_embeds=embeddings[1:, :2]).last_hidden_state
            from_ids = model(input_ids=ids, attention_mask=mask).last_hidden_state
        in_order = [block for block, _ in seen] == blocks
        causal = in_order and not _sees_later(seen[-1][1], embeddings)
    except Exception as error:  # models may raise anything
        raise _refusal(model, f"does not run on input embeddings ({reason(error)})") from error
    if not in_order:
        raise _refusal(model, f"does not run the blocks in its {path!r} one after the other on (batch, positions)")
    if not _same(alone[0], state[1, :2]):
        raise _refusal(model, "lets padding change the features of real tokens")
    if not _same(from_ids[mask > 0], state[mask > 0]):
        raise _refusal(model, "computes different features from tokens and from their embeddings")
    return Anatomy(path, final=not torch.equal(state, seen[-1][1]), causal=causal)


def _watch(
    model: Any, blocks: list[nn.Module], embeddings: Tensor, mask: Tensor
) -> tuple[Tensor, list[tuple[nn.Module, Tensor]]]:
    """Return the last hidden state, and each block with its output, in the order they ran."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def see(block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        output = output[0] if isinstance(output, tuple | list) else output
        if all(isinstance(x, Tensor) and x.shape[:2] == mask.shape for x in (*args[:1], output)):
            seen.append((block, output))

    hooks = [block.register_forward_hook(see) for block in blocks]
    try:
        with torch.enable_grad():
            return model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, seen
    finally:
        for hook in hooks:
            hook.remove()


def _list_of_blocks(model: Any) -> str:
    """Return the path of the outermost module list as long as the model has blocks."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [
        path for path, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    depth = min((path.count(".") for path in lists), default=0)
    outermost = [path for path in lists if path.count(".") == depth]
    if len(outermost) != 1:
        found = f"several ({', '.join(outermost)})" if outermost else "none"
        raise _refusal(model, f"should have one list of its {count} blocks but has {found}")
    (path,) = outermost
    return str(path)


def _tokens(model: Any) -> Tensor:
    """Return two rows of three token ids, none of them the padding token."""
    count, padding = model.get_input_embeddings().num_embeddings, getattr(model.config, "pad_token_id", None)
    ids = [token for token in range(min(count, 16)) if token != padding]
    return torch.tensor([(ids[-6:] * 6)[:6]]).view(2, 3)


def _sees_later(feature: Tensor, embeddings: Tensor) -> bool:
    """Return whether the first position's feature depends on a later position."""
    with torch.enable_grad():
        first = feature[0, 0]
    # a random direction: after a layer norm the plain sum has no gradient
    direction = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(first, embeddings, direction)
    return bool(gradient[0, 1:].any())


def _same(feature: Tensor, other: Tensor) -> bool:
    return bool((feature - other).norm() <= TOLERANCE * feature.norm())


def _refusal(model: Any, why: str) -> ReadoutError:
    return ReadoutError(
        f"A model of type {model.config.model_type} {why}, so LanguageModel does not support it; write a "
        "FeatureExtractor for it."
    )
