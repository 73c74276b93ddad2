"""Arguments that end in one clear sentence when they are wrong."""

from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from readout.errors import ReadoutError


class Parser(LightningArgumentParser):
    """Raises :class:`ReadoutError` where argparse would print its usage and a tree of alternatives."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one sentence."""
        raise ReadoutError(sentence(message)) from ex


def sentence(message: str) -> str:
    """The first and the most telling line of jsonargparse's message."""
    return message
