"""External features of texts: their length in tokens, the special tokens that frame them, and known true texts."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data.text_files import TextFiles
from readout.external.collect import Found
from readout.external.shapes import Features, Rows, by_name, times
from readout.external.true import matched
from readout.extractors import LanguageModel
from readout.priors.tokens import FREE
from readout.readouts import TextInversion


def as_text_features(found: Sequence[Found], widths: Mapping[str, int], inversion: TextInversion) -> Features:
    """Return features of texts by name and layer, each of shape (tokens, width), after checking every array.

    Args:
        found: Arrays from files.
        widths: Layer → width of its hidden states, in the network's order.
        inversion: The readout, which decides whether special tokens are known.

    Raises:
        ReadoutError: if an array does not fit its layer, a text is longer than the model takes or has no token to find,
            its layers differ in their number of tokens, or as :func:`readout.external.shapes.by_name` does.
    """
    features = by_name(found, list(widths), lambda one: _rows(one, widths[one.layer], inversion.extractor))
    for name, of_layers in features.items():
        counts = {layer: len(feature) for layer, feature in of_layers.items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{count} in {layer}" for layer, count in counts.items())
            raise ReadoutError(f"The features of {name!r} differ in their number of tokens ({said}); give it one text.")
        if not (unknown_text(inversion, next(iter(counts.values()))) == FREE).any():
            raise ReadoutError(
                f"The feature of {name!r} has no tokens beyond the special ones that frame a text, so there is nothing "
                "to find; leave it out, or set special_tokens to free."
            )
    return features


def unknown_text(inversion: TextInversion, tokens: int) -> Tensor:
    """Return a placeholder for a text of known length.

    Args:
        inversion: The readout. If its special tokens are known, the placeholder has those that frame a text.
        tokens: Length, special tokens included.

    Returns:
        Token ids, shape (tokens,), with :data:`readout.priors.tokens.FREE` where there is a token to find.
    """
    if inversion.special_tokens == "free":
        return torch.full((tokens,), FREE)
    frame = len(inversion.extractor.frame(torch.empty(0, dtype=torch.long)))
    return inversion.extractor.frame(torch.full((max(tokens - frame, 0),), FREE))


def true_texts(path: str, features: Features, inversion: TextInversion) -> dict[str, Tensor]:
    """Match texts to features by name; see :func:`readout.external.true.matched`.

    Args:
        path: A text file, or a folder of ``.txt`` files, searched recursively.
        features: Features by name and layer.
        inversion: The readout; its model has the tokenizer.

    Returns:
        Name → token ids, framed by special tokens, shape (tokens,).

    Raises:
        ReadoutError: if there is no such path, no text or two texts match a name, or a text does not have its feature's
            length or contains special tokens.
    """
    data = TextFiles(path)
    suffixes = {".txt", *(PurePath(name).suffix.lower() for name in data.files)}
    chosen = matched({name: name for name in data.files}, features, path, "text", suffixes)
    data.files = {name: data.files[name] for name in chosen.values()}  # the others need not be readable
    texts = dict(data.documents())
    return {name: _tokens(name, texts[file], _length(features[name]), inversion) for name, file in chosen.items()}


def _rows(found: Found, width: int, model: LanguageModel) -> Rows:
    """Return the array as (texts, tokens, width): one text, or several of equal length."""
    actual, wanted = found.values.shape, f"tokens × {width}"
    network = f"{model.name} ({model.weights_name})"
    if len(actual) not in (2, 3) or actual[-1] != width:
        swapped = len(actual) in (2, 3) and actual[-2] == width
        axes = (1, 0) if len(actual) == 2 else (0, 2, 1)
        raise ReadoutError(
            f"{found.where} has shape {times(actual)}, but {found.layer} of {network} gives {wanted} for a text "
            f"(several of equal length in one array: n × {wanted}); "
            + (f"save `array.transpose{axes}`." if swapped else "check the layer, and give each text its own rows.")
        )
    if model.max_tokens is not None and actual[-2] > model.max_tokens:
        raise ReadoutError(
            f"{found.where} has {actual[-2]} tokens, but {network} takes at most {model.max_tokens}; split the text "
            "and give the features of each part on its own."
        )
    return np.asarray(found.values).reshape(-1, *actual[-2:])


def _length(features: Mapping[str, Tensor]) -> int:
    return len(next(iter(features.values())))


def _tokens(name: str, text: str, length: int, inversion: TextInversion) -> Tensor:
    model = inversion.extractor
    ids = model.tokenize(text.strip())
    framed = model.frame(ids)
    if len(framed) != length:
        raise ReadoutError(
            f"The true text of {name!r} has {len(framed)} tokens, special ones included, but its feature has {length}; "
            "give exactly the text whose feature this is."
        )
    if inversion.special_tokens == "known" and model.is_special(ids).any():
        raise ReadoutError(
            f"The true text of {name!r} holds a special token of {model.name}, which the readout would know; set "
            "special_tokens to free, or leave that text out."
        )
    return framed
