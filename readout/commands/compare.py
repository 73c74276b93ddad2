"""The command ``compare``: similarity of layers to each other, to another model's, or to responses."""

from collections.abc import Sequence

import yaml
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from readout.analysis import plots
from readout.analysis.outputs import read_outputs
from readout.analysis.similarity import Matrices, layer_features, print_similarity, similarity_table, with_sizes
from readout.commands.encode import MASK, RESPONSES
from readout.commands.fit import ReadoutCLI, cli_arguments
from readout.common.checks import check_layer_names
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.common.terminal import make_console, say
from readout.data import load_samples
from readout.data.images import suffixes
from readout.encoding import read_regions
from readout.external.true import matched
from readout.extractors import FeatureExtractor
from readout.metrics import CKA, Similarity
from readout.store import ResultStore
from readout.sweep.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Compare layers as the arguments say, print the similarities and write them."""
    console = make_console()
    with quiet_lightning():
        cli = _CompareCLI(**cli_arguments("compare", "Compare layers, models or responses.", arguments))
        runtime = cli.runtime()
        device = runtime.make_bare_trainer().strategy.root_device
    given, extractor = cli.config_init, cli.model.extractor
    if given.other and given.responses:
        raise ReadoutError("--other and --responses are both set; compare with one of them at a time.")
    if given.mask and not given.responses:
        raise ReadoutError("--mask is of responses, but --responses is not set; set it, or leave --mask out.")
    others: Matrices | None = None
    seed = runtime.seed

    def features(network: FeatureExtractor, layers: Sequence[str]) -> tuple[list[str], dict[str, Tensor]]:
        samples = load_samples(cli.datamodule, network)  # each network has a tokenizer of its own
        names = list(samples)
        network.find_layers(samples.stack(names[:1]))
        network.to(device).lay_out(device)
        return names, layer_features(network, samples, network.resolve(layers), given.units, seed)

    names, own = features(extractor, given.sweep.layers)
    if given.other:
        seen, others = features(given.other, check_layer_names("--other_layers", given.other_layers))
        if seen != names:
            raise ReadoutError("The two networks cut the texts at other places; give texts within data.max_tokens.")
    if given.responses:
        rows, others = matched_responses(given.responses, given.mask, names)
        say(console, f"{len(rows)} of {len(names)} inputs have responses.")
        own = {layer: x[[names.index(name) for name in rows]] for layer, x in own.items()}
    table = similarity_table(given.measure or CKA(), own, others, given.resamples, seed)
    if given.sizes:
        table = with_sizes(table, read_sizes(given.sizes, extractor))
    store = ResultStore(user_path(given.output))
    store.write_text("similarity.csv", table.to_csv(index=False))
    store.write_text("config.yaml", yaml.safe_dump(dict(runtime.config), sort_keys=False))
    store.write_figure("similarity", plots.figure_of(plots.similarity(table)))
    print_similarity(table, console)
    say(console, f"table {store.folder / 'similarity.csv'}")


class _CompareCLI(ReadoutCLI):
    """A CLI that takes configurations of ``fit``: its network, its inputs and its layers."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of ``compare`` to the sections of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--other", type=FeatureExtractor | None, default=None, help="another network")
        parser.add_argument("--other_layers", type=str | list[str], default="all", help="its layers")
        parser.add_argument("--responses", type=str | None, default=None, help=RESPONSES)
        parser.add_argument("--mask", type=str | None, default=None, help=MASK)
        parser.add_argument("--measure", type=Similarity | None, default=None, help="default: CKA, debiased")
        parser.add_argument("--units", type=int, default=100_000, help="most units per layer; more are drawn from")
        parser.add_argument("--resamples", type=int, default=100, help="subsamples per band, and permutations")
        parser.add_argument("--sizes", type=str | None, default=None, help="output folder of a sweep, for its sizes")
        parser.add_argument("--output", type=str, default="runs/compare", help="output folder")


def matched_responses(path: str, mask: str | None, inputs: Sequence[str]) -> tuple[list[str], Matrices]:
    """Read responses and match them to inputs by name, as :func:`readout.external.true.matched` does.

    Args:
        path: See :func:`readout.encoding.read_regions`.
        mask: See there.
        inputs: Names of the inputs.

    Returns:
        The inputs that have responses, and the mean responses to them by key.

    Raises:
        ReadoutError: as there, or if no name is that of an input, or one is that of two.
    """
    regions = read_regions(path, mask)
    places = {name: place for place, name in enumerate(next(iter(regions.values())).names)}
    rows = matched(places, inputs, path, "response", suffixes())
    if len({*rows.values()}) < len(rows):
        raise ReadoutError(f"A name in {path!r} is that of two inputs; name responses by the inputs' whole names.")
    return list(rows), {key: one.mean[list(rows.values())].float() for key, one in regions.items()}


def read_sizes(folder: str, extractor: FeatureExtractor) -> dict[str, float]:
    """Return the median size of each layer from the output folder of a sweep.

    Raises:
        ReadoutError: if it is of another network.
    """
    (output,) = read_outputs([folder])
    if {*output.sizes["weights_digest"]} != {extractor.fingerprint()[:16]}:
        raise ReadoutError(
            f"The sizes in {folder!r} are of other weights than those of {extractor.name} ({extractor.weights_name}); "
            "give a sweep of the same network."
        )
    medians = output.sizes.groupby("layer")["representation_size"].median()
    return {str(layer): float(size) for layer, size in medians.items()}
