import shlex

import pytest
from lightning.pytorch import Trainer

from readout.commands.parser import Parser
from readout.common.errors import ReadoutError
from readout.data import InputData
from readout.readouts import FeatureInversion
from readout.sweep import Sweep

MODEL = ["--model", "ImageInversion", "--model.extractor", "tests.tiny.TinyNet", "--model.prior", "Pixels"]


@pytest.fixture(scope="module")
def parser() -> Parser:
    """The sections of ``fit``."""
    made = Parser(prog="readout fit", allow_abbrev=False)
    made.add_class_arguments(Trainer, "trainer")
    made.add_subclass_arguments(FeatureInversion, "model", required=True)
    made.add_subclass_arguments(InputData, "data")
    made.add_class_arguments(Sweep, "sweep")
    return made


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--sweep.draws 1.5", "sweep.draws is 1.5; give a whole number."),
        ("--sweep.batch_size big", "sweep.batch_size is big; give a whole number or 'auto'."),
        ("--sweep.threshold ''", "sweep.threshold is empty; give a number or null."),
        ("--sweep.levels 0.5", "sweep.levels is 0.5; give a list, such as [0.5]."),
        ("--sweep.search gird", "sweep.search is gird (did you mean grid?); give 'grid' or 'bisection'."),
        ("--sweep.resume maybe", "sweep.resume is maybe; give true or false."),
        ("--sweep.layers", "--sweep.layers needs a value."),
        ("--sweep 5", "sweep is '5'; give a mapping in YAML, or a file with one."),
        (
            "--sweep.perturbation GausianPerturbation",
            "no class GausianPerturbation (did you mean GaussianPerturbation?); name a",
        ),
        (
            "--sweep.perturbation.calibration exact",
            "belongs to a kind of Perturbation; name its class too",
        ),
        ("--trainer.max_steps many", "trainer.max_steps is many; give a whole number."),
        ("--trainer.logger CSVLoger", "trainer.logger: there is no class CSVLoger (did you mean CSVLogger?)"),
        ("--trainer.callbacks RecoveryCurvee", "there is no class RecoveryCurvee (did you mean RecoveryCurve?)"),
        (
            "--trainer.callbacks '[{class_path: EarlyStopping}]'",
            "EarlyStopping needs monitor; add --trainer.",
        ),
        ("--data ImageFolder", "ImageFolder needs folder; add --data.folder, for example."),
        (
            "--data UniformNoise --data.cuont 3",
            "no option data.cuont (did you mean count?); UniformNoise takes",
        ),
        ("--data UniformNoise --data.shape '[3, a]'", "data.shape is a; give a whole number."),
        ("--model.extractor VGG91", "model.extractor: there is no class VGG91 (did you mean VGG19?)"),
        ("--model.extractor UniformNoise", "UniformNoise is not what ImageInversion takes as extractor"),
        ("--model.extractor tests.tiny.TinyNett", "there is no TinyNett in tests.tiny (did you mean TinyNet?)"),
        ("--model.prior.total_variaton 1", "no option model.prior.total_variaton (did you mean total_variation?)"),
        ("--model.metrics SSIM", "model.metrics is SSIM; give a list, such as [SSIM]."),
        ("--model.optimizer torch.optim.AdamWW", "there is no AdamWW in torch.optim (did you mean AdamW?)"),
        ("--model.record_evry 1", "no option model.record_evry (did you mean record_every?)"),
        (
            "--model VGG19",
            "model: VGG19 is no FeatureInversion; give CodeReadout, ImageInversion, RefinedInversion, TextInversion, "
            "TokenSearch.",
        ),
        ("vgg_dip.yaml", "'vgg_dip.yaml' belongs to no option; write --config vgg_dip.yaml."),
    ],
)
def test_a_wrong_argument_is_met_with_what_was_given_and_what_is_wanted(parser: Parser, line: str, words: str) -> None:
    with pytest.raises(ReadoutError) as refused:
        parser.parse_args([*MODEL, *shlex.split(line)])
    said = str(refused.value)
    assert words in said
    assert said.endswith(" `readout fit --help` lists what is accepted.")
    assert not any(noise in said for noise in ("Parser key", "<class", "Namespace", "typing", "Subtypes"))


def test_what_is_missing_is_named(parser: Parser) -> None:
    with pytest.raises(ReadoutError, match="model must be set; add, for example, --model VGG19"):
        parser.parse_args([])
