"""Encoding models: responses of a brain predicted from features, and features decoded from responses."""

from readout.encoding.decode import decode
from readout.encoding.encode import encode
from readout.encoding.model import EncodingModel
from readout.encoding.responses import Responses, read_regions, read_responses

__all__ = ["EncodingModel", "Responses", "decode", "encode", "read_regions", "read_responses"]
