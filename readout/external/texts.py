"""Texts of which only the features are known: how long they are, what frames them, and which are known after all."""

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
from readout.inversions import TextInversion
from readout.priors.tokens import FREE


def as_text_features(found: Sequence[Found], widths: Mapping[str, int], inversion: TextInversion) -> Features:
    """Features of texts by name and layer, each of shape (tokens, width), once every array is known to fit.

    Args:
        found: What the files hold.
        widths: Of each layer's hidden states, in the network's order.
        inversion: The readout, which says what of a text there is to find.

    Raises:
        ReadoutError: if an array does not fit its layer, a text is longer than the model takes or has nothing to find,
            layers differ in its tokens, or what :func:`readout.external.shapes.by_name` says.
    """
    features = by_name(found, list(widths), lambda one: _rows(one, widths[one.layer], inversion.extractor))
    for name, of_layers in features.items():
        counts = {layer: len(feature) for layer, feature in of_layers.items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{count} in {layer}" for layer, count in counts.items())
            raise ReadoutError(f"The features of {name!r} differ in their number of tokens ({said}); give it one text.")
        if not (unknown_text(inversion, next(iter(counts.values()))) == FREE).any():
            raise ReadoutError(
                f"The feature of {name!r} has no tokens beside the special ones that frame a text, so there is nothing "
                "to find; leave it out, or set special_tokens to free."
            )
    return features


def unknown_text(inversion: TextInversion, tokens: int) -> Tensor:
    """What stands for a text of which nothing is known but its length.

    Args:
        inversion: The readout. Where it is given special tokens, those that frame a text are there.
        tokens: Length, special tokens included.

    Returns:
        Ids, shape (tokens,), :data:`readout.priors.tokens.FREE` where there is a token to find.
    """
    if inversion.special_tokens == "free":
        return torch.full((tokens,), FREE)
    frame = len(inversion.extractor.frame(torch.empty(0, dtype=torch.long)))
    return inversion.extractor.frame(torch.full((max(tokens - frame, 0),), FREE))


def true_texts(path: str, features: Features, inversion: TextInversion) -> dict[str, Tensor]:
    """Match texts to features by name; see :func:`readout.external.true.matched`.

    Args:
        path: A text file, or a folder of ``.txt`` files; sub-folders are searched too.
        features: Those of which they may be.
        inversion: The readout, with the model whose tokenizer there is.

    Returns:
        Ids with the special tokens around them, shape (tokens,), by name.

    Raises:
        ReadoutError: if there is no such path, no text fits a name or two do, or one is not as long as its feature or
            holds special tokens itself.
    """
    data = TextFiles(path)
    suffixes = {".txt", *(PurePath(name).suffix.lower() for name in data.files)}
    chosen = matched({name: name for name in data.files}, features, path, "text", suffixes)
    data.files = {name: data.files[name] for name in chosen.values()}  # no other need be readable
    texts = dict(data.documents())
    return {name: _tokens(name, texts[file], _length(features[name]), inversion) for name, file in chosen.items()}


def _rows(found: Found, width: int, model: LanguageModel) -> Rows:
    """The array as (texts, tokens, width): one text or several of one length."""
    given, wanted = found.values.shape, f"tokens × {width}"
    called = f"{model.name} ({model.weights_name})"
    if len(given) not in (2, 3) or given[-1] != width:
        swapped = len(given) in (2, 3) and given[-2] == width
        axes = (1, 0) if len(given) == 2 else (0, 2, 1)
        raise ReadoutError(
            f"{found.where} has shape {times(given)}, but {found.layer} of {called} gives {wanted} for a text (several "
            f"of one length in one array: n × {wanted}); "
            + (f"save `array.transpose{axes}`." if swapped else "check the layer, and that each text has its own rows.")
        )
    if model.max_tokens is not None and given[-2] > model.max_tokens:
        raise ReadoutError(
            f"{found.where} has {given[-2]} tokens, but {called} takes {model.max_tokens} at most; give a text in "
            "pieces, each with the features it has alone."
        )
    return np.asarray(found.values).reshape(-1, *given[-2:])


def _length(features: Mapping[str, Tensor]) -> int:
    return len(next(iter(features.values())))


def _tokens(name: str, text: str, length: int, inversion: TextInversion) -> Tensor:
    model = inversion.extractor
    ids = model.tokenize(text.strip())
    framed = model.frame(ids)
    if len(framed) != length:
        raise ReadoutError(
            f"The true text of {name!r} has {len(framed)} tokens, special ones included, but its feature has {length}; "
            "give exactly the text that the feature is of."
        )
    if inversion.special_tokens == "known" and model.is_special(ids).any():
        raise ReadoutError(
            f"The true text of {name!r} holds a special token of {model.name}, which would be given to the readout; "
            "set special_tokens to free, or leave that text out."
        )
    return framed
