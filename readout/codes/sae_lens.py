"""Dictionaries and encoders from and to SAELens, which the extra ``sae`` installs."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from readout.codes.dictionary import Dictionary
from readout.codes.encoders import BatchTopKEncoder, GatedEncoder, JumpReLUEncoder, ReLUEncoder, TopKEncoder
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path


class RankedTopKEncoder(TopKEncoder):
    """:class:`TopKEncoder` that ranks latents by codes divided by ``norms``, which a decoder not of unit norm had.

    Args:
        active: K.
    """

    norms: Tensor
    """Shape (N,)."""

    def build(self, atoms: Tensor) -> None:
        """See :class:`Encoder`; norms begin as 1."""
        super().build(atoms)
        self.register_buffer("norms", atoms.new_ones(len(atoms)))

    def forward(self, feature: Tensor, atoms: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        codes = self.linear(feature).relu()
        places = (codes / self.norms).topk(self.active, dim=1).indices
        return torch.zeros_like(codes).scatter(1, places, codes.gather(1, places))


ENCODERS = {"standard": ReLUEncoder, "topk": RankedTopKEncoder, "jumprelu": JumpReLUEncoder, "gated": GatedEncoder}
"""Encoder of each architecture that is converted; BatchTopK and Matryoshka autoencoders are saved as jumprelu."""


class SAELensDictionary(Dictionary):
    """The dictionary and encoder of a sparse autoencoder that SAELens has saved.

    Args:
        path: Folder with ``cfg.json`` and ``sae_weights.safetensors``.

    Raises:
        ReadoutError: if SAELens is not installed, can't read the folder, or :func:`from_sae_lens` can't convert it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        library, folder = _library(), user_path(path)
        try:
            sae = library.SAE.load_from_disk(folder, device="cpu", dtype="float32")
        except Exception as error:  # a folder can hold anything
            raise ReadoutError(
                f"SAELens can't read an autoencoder in {str(folder)!r} ({type(error).__name__}: {reason(error)}); give "
                "a folder that its save_inference_model or save_model has written."
            ) from error
        super().__init__(*_converted(sae))


def from_sae_lens(sae: Any) -> Dictionary:
    """Return the dictionary of an autoencoder of SAELens, with its encoder.

    Atoms are the decoder's rows at unit norm, and ``scale`` is the rows' mean norm. A code is SAELens' own, times the
    norm of its row over the mean norm: the same where all rows have one norm.

    Args:
        sae: A ``sae_lens.SAE``.

    Raises:
        ReadoutError: if the architecture has no encoder here, or activations are normalised outside of the weights.
    """
    return Dictionary(*_converted(sae))


def to_sae_lens(dictionary: Dictionary, folder: str | Path) -> None:
    """Write a dictionary and its encoder for SAELens, where codes are the same; those of a ranked one, over its norms.

    Args:
        dictionary: Its mean becomes ``b_dec``; its scale goes into ``W_enc`` and ``W_dec``.
        folder: Output folder.

    Raises:
        ReadoutError: if SAELens is not installed, or has no such encoder.
    """
    library, encoder = _library(), dictionary.encoder
    if type(encoder) not in (*ENCODERS.values(), TopKEncoder, BatchTopKEncoder):
        kind = "no encoder" if encoder is None else f"a {type(encoder).__name__}"
        raise ReadoutError(f"SAELens can't hold a dictionary with {kind}; give one that was learnt with a ReLUEncoder.")
    assert isinstance(encoder, ReLUEncoder)
    norms = encoder.norms if isinstance(encoder, RankedTopKEncoder) else dictionary.atoms.new_ones(len(dictionary))
    facts: dict[str, Any] = {"architecture": "standard", "d_in": dictionary.dimensions, "d_sae": len(dictionary)}
    weights = {
        "W_enc": (encoder.weight / norms.unsqueeze(1)).T / dictionary.scale,
        "W_dec": dictionary.atoms * norms.unsqueeze(1) * dictionary.scale,
        "b_enc": encoder.bias / norms,
        "b_dec": dictionary.mean,
    }
    if isinstance(encoder, GatedEncoder):
        facts["architecture"] = "gated"
        weights |= {"b_mag": weights.pop("b_enc"), "b_gate": encoder.gate_bias, "r_mag": encoder.gain}
    elif isinstance(encoder, JumpReLUEncoder):
        facts["architecture"] = "jumprelu"
        weights["threshold"] = encoder.thresholds
    elif isinstance(encoder, BatchTopKEncoder):
        facts["architecture"] = "jumprelu"
        below = encoder.threshold.nextafter(encoder.threshold.new_tensor(-torch.inf))  # a latent at it is active here
        weights["threshold"] = below.expand(len(dictionary))
    elif isinstance(encoder, TopKEncoder):
        facts |= {"architecture": "topk", "k": encoder.active}
    sae = library.SAE.from_dict(facts)
    sae.load_state_dict({name: tensor.detach().cpu() for name, tensor in weights.items()})
    sae.save_model(user_path(folder))


def _library() -> Any:
    try:
        return import_module("sae_lens")
    except ModuleNotFoundError as error:
        raise ReadoutError(f"{error.name} is not installed; `pip install 'readout[sae]'` brings SAELens.") from error


def _converted(sae: Any) -> tuple[Tensor, Tensor, float, ReLUEncoder]:
    """Return the arguments of :class:`Dictionary`."""
    config = sae.cfg
    if (architecture := config.architecture()) not in ENCODERS:
        raise ReadoutError(
            f"An autoencoder of SAELens of the architecture {architecture!r} can't be converted; give one of "
            f"{', '.join(ENCODERS)}, as which save_inference_model saves BatchTopK and Matryoshka ones too."
        )
    if config.normalize_activations != "none":
        raise ReadoutError(
            f"The autoencoder of SAELens normalises activations by {config.normalize_activations!r}, outside of its "
            "weights; fold a constant factor into them by fold_activation_norm_scaling_factor, or give another one."
        )
    weights = {name: tensor.detach().cpu().float() for name, tensor in sae.state_dict().items()}
    atoms, mean = weights["W_dec"], weights["b_dec"]
    norms = atoms.norm(dim=1)
    scale = float(norms.mean())
    sizes = norms / scale  # codes, over those of SAELens
    # SAELens encodes h − b_dec or h, and a standardised feature is (h − b_dec) / scale
    shift = 0 if config.apply_b_dec_to_input else mean @ weights["W_enc"]
    tensors = {"weight": weights["W_enc"].T * norms.unsqueeze(1)}
    if architecture == "gated":
        tensors |= {"gain": weights["r_mag"], "gate_bias": (weights["b_gate"] + shift) * sizes}
        tensors["bias"] = (weights["b_mag"] + weights["r_mag"].exp() * shift) * sizes
    else:
        tensors["bias"] = (weights["b_enc"] + shift) * sizes
    if architecture == "jumprelu":
        tensors["thresholds"] = weights["threshold"] * sizes
    if architecture == "topk":
        tensors["norms"] = torch.ones_like(sizes) if config.rescale_acts_by_decoder_norm else sizes
    encoder = RankedTopKEncoder(config.k) if architecture == "topk" else ENCODERS[architecture]()
    encoder.build(atoms)
    encoder.load_state_dict(tensors)
    return atoms, mean, scale, encoder
