"""The command line: parse, call one function, turn an SslBioError into one line and exit code 2.

Heavy modules are imported by the command that needs them, so that `--help` answers at once, and after its runs are
planned, so that a mistyped recipe, key or run is refused at once.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ssl_bio import __version__
from ssl_bio.errors import RecipeError, SslBioError

if TYPE_CHECKING:
    from ssl_bio.commands.plan import RunOptions

app = typer.Typer(
    name="ssl-bio",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Pretrain without labels, finetune on a few, evaluate honestly, share the numbers.

Three commands do a whole study:

* `ssl-bio pretrain --recipe har.toml`
* `ssl-bio finetune --mode linear-probe --seeds 0,1,2`
* `ssl-bio evaluate`
""",
)
data_app = typer.Typer(no_args_is_help=True, help="Datasets: list, prepare, check.")
recipes_app = typer.Typer(no_args_is_help=True, help="Recipes: list, show, validate.")
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")

RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="FILE", help="A path, or a name from `ssl-bio recipes list`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one recipe key, e.g. pretrain.epochs=20. Repeatable."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Run folder instead of the one under checkpoints/.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, bit for bit.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")]
FoldsOption = Annotated[
    int | None,
    typer.Option("--folds", min=2, help="Cross-validation by subject: so many parts, each tested once."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TensorBoardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write every epoch's losses and metrics into the run folder's events/.")
]
SheetOption = Annotated[
    Path, typer.Option("--sheet", metavar="CSV", help="The results sheet that rows are appended to.")
]
CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", metavar="RUN", help="A run folder; {seed} in it stands for each seed.")
]
RootOption = Annotated[
    str, typer.Option("--root", metavar="DIR", help="Data root instead of $SSL_BIO_DATA or the cache folder.")
]

LearningRateOption = Annotated[float | None, typer.Option("--lr", help="Learning rate of the head.")]
BackboneRateOption = Annotated[
    float | None, typer.Option("--backbone-lr", help="Learning rate of the backbone; alone it means --mode full.")
]
ModeOption = Annotated[str | None, typer.Option("--mode", help="full, linear-probe, scratch or random-frozen.")]
LossOption = Annotated[str | None, typer.Option("--loss", help="cross-entropy, mse, l1, huber ...: what the task has.")]
LabelsOption = Annotated[
    float | None, typer.Option("--label-fraction", help="Stratified share of the labels, e.g. 0.01.")
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", metavar="0,1,2", help="Run once for each, end with mean ± std.")
]
GridOption = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="KEY=V1,V2", help="Every combination of recipe values. Repeatable."),
]
ByOption = Annotated[str, typer.Option("--by", metavar="METRIC", help="What a grid's table is sorted by.")]


_INTERRUPTED = 130  # what Typer exits with after Ctrl-C


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="ssl-bio")  # also as `python -m ssl_bio`
    except SslBioError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", style="red", markup=False)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            preparing = sys.argv[1:2] == ["data"]
            onwards = "goes on where it stopped" if preparing else "with --resume goes on from the last whole epoch"
            Console(stderr=True, soft_wrap=True).print(f"interrupted: the same command {onwards}")
        raise


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ssl-bio {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def pretrain(
    recipe_name: RecipeOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    folds: FoldsOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    tensorboard: TensorBoardOption = False,
) -> None:
    """Learn a backbone without labels. Without a recipe: the embedded demo.

    Examples:

    * `ssl-bio pretrain`
    * `ssl-bio pretrain --recipe har.toml --set pretrain.epochs=20 --seed 1`
    * `ssl-bio pretrain --recipe har.toml --resume`
    * `ssl-bio pretrain --recipe bidmc-timemae.toml --folds 5 --seeds 0,1,2`
    * `ssl-bio pretrain --recipe demo-joint-tokenizer.toml && ssl-bio pretrain --recipe demo-crossmodal.toml`
    """
    options = _options(
        overrides,
        {"seed": seed, "data.folds": folds},
        recipe=recipe_name,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        tensorboard=tensorboard,
    )
    seed_list = _parse_seeds(seeds, seed)
    from ssl_bio.commands import plan

    plan.plan_pretraining(options, seed_list)
    from ssl_bio.commands import pretrain

    pretrain.pretrain(options, seed_list)


@app.command()
def finetune(
    checkpoint: CheckpointOption = None,
    recipe_name: RecipeOption = None,
    mode: ModeOption = None,
    lr: LearningRateOption = None,
    backbone_lr: BackboneRateOption = None,
    loss: LossOption = None,
    label_fraction: LabelsOption = None,
    seeds: SeedsOption = None,
    folds: FoldsOption = None,
    axes: GridOption = None,
    by: ByOption = "",
    sheet: SheetOption = Path("results.csv"),
    overrides: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    tensorboard: TensorBoardOption = False,
) -> None:
    """Learn a task on a backbone; without --checkpoint, on the newest complete pretraining run.

    Examples:

    * `ssl-bio finetune --backbone-lr 2e-5`
    * `ssl-bio finetune --mode linear-probe --seeds 0,1,2`
    * `ssl-bio finetune --mode full --label-fraction 0.01 --seeds 0,1,2`
    * `ssl-bio finetune --recipe har-supervised.toml`
    * `ssl-bio finetune --recipe bidmc-hr.toml --folds 5 --seeds 0,1,2`
    * `ssl-bio finetune --mode full --grid finetune.lr=3e-3,1e-3 --grid finetune.dropout=0,0.2 --set evaluate.split=val`
    """
    chosen = {
        "seed": seed,
        "data.folds": folds,
        "finetune.mode": mode,
        "finetune.lr": lr,
        "finetune.backbone_lr": backbone_lr,
        "finetune.loss": loss,
        "finetune.label_fraction": label_fraction,
    }
    options = _options(
        overrides,
        chosen,
        recipe=recipe_name,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        sheet=sheet,
        tensorboard=tensorboard,
    )
    seed_list = _parse_seeds(seeds, seed)
    if by and not axes:
        raise RecipeError("--by sorts the table of a --grid, and there is none")
    if axes:
        from ssl_bio.commands import grid

        grid.grid(options, checkpoint, seeds=seed_list, axes=axes, by=by)
        return
    from ssl_bio.commands import plan

    plan.plan_seeds(options, checkpoint, seed_list)
    from ssl_bio.commands import finetune

    finetune.finetune(options, checkpoint, seed_list)


@app.command()
def baselines(
    recipe_name: RecipeOption = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="constant, spectral-peak, hand-features, minirocket. [all]"),
    ] = None,
    label_fraction: LabelsOption = None,
    seeds: SeedsOption = None,
    folds: FoldsOption = None,
    sheet: SheetOption = Path("results.csv"),
    overrides: SetOption = None,
    seed: SeedOption = None,
) -> None:
    """Answer a recipe's question simply, for a row beside its runs: same data, same labels, same split, same metrics.

    The commonest class or mean; the strongest frequency, of rates; ridge regression on features computed by hand, or
    on MiniRocket's. Features are kept beside the dataset. A random frozen backbone is `finetune --mode random-frozen`.

    Examples:

    * `ssl-bio baselines --recipe har.toml`
    * `ssl-bio baselines --recipe har.toml --label-fraction 0.01 --seeds 0,1,2`
    * `ssl-bio baselines --recipe bidmc-hr.toml --folds 5 --only spectral-peak --only minirocket`
    """
    chosen = {"seed": seed, "data.folds": folds, "finetune.label_fraction": label_fraction}
    options = _options(overrides, chosen, recipe=recipe_name, sheet=sheet)
    seed_list = _parse_seeds(seeds, seed)
    from ssl_bio.commands import plan

    plan.plan_baselines(options, names or [], seed_list)
    from ssl_bio.commands import baselines

    baselines.baselines(options, names or [], seed_list)


@app.command()
def tune(
    checkpoint: CheckpointOption = None,
    recipe_name: RecipeOption = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials in all, also those that are there: tune.trials.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that run trials side by side.")] = 1,
    storage: Annotated[
        str,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Any Optuna storage, for machines to share a study: sqlite:///..., mysql://..., postgresql://..., or "
            "journal:PATH on a network folder. Without it: study.db in the folder of the search.",
        ),
    ] = "",
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="0,1,2", help="Train the winner once for each.")
    ] = None,
    folds: FoldsOption = None,
    sheet: SheetOption = Path("results.csv"),
    overrides: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the search instead of the one under checkpoints/."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a search: what was cut off, what failed, more --trials.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the search in the folder.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Search the values that a recipe's `[tune.space]` names: trials are scored on validation, the winner on test.

    Examples:

    * `ssl-bio tune --recipe demo-tune.toml`
    * `ssl-bio tune --recipe demo-tune.toml --trials 40 --workers 2 --resume`
    * `ssl-bio tune --recipe bidmc-hr-tune.toml --checkpoint RUN --folds 5 --seeds 0,1,2`
    * `ssl-bio tune --recipe demo-tune.toml --storage mysql://me@server/optuna`
    * `ssl-bio tune --recipe har-supervised.toml --set tune.sampler=grid --set "tune.space.finetune.dropout=[0.0,0.2]"`
    """
    chosen = {"seed": seed, "data.folds": folds, "tune.trials": trials}
    options = _options(
        overrides, chosen, recipe=recipe_name, out=out, resume=resume, overwrite=overwrite, device=device, sheet=sheet
    )
    seed_list = _parse_seeds(seeds, seed)
    from ssl_bio.commands import plan

    plan.plan_seeds(options, checkpoint, seed_list)
    from ssl_bio.commands import tune

    tune.tune(options, checkpoint, seeds=seed_list, storage=storage, workers=workers)


@app.command()
def evaluate(
    checkpoint: CheckpointOption = None,
    split: Annotated[str | None, typer.Option("--split", help="train, val or test.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME_OR_FOLDER", help="External validation on other data.")
    ] = None,
    sheet: SheetOption = Path("results.csv"),
    overrides: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Evaluate a finetuned run; without --checkpoint, the newest one.

    Examples:

    * `ssl-bio evaluate`
    * `ssl-bio evaluate --checkpoint checkpoints/har/finetune-full-seed0 --split val`
    * `ssl-bio evaluate --data "another UCI HAR Dataset.zip"`
    """
    options = _options(overrides, {"evaluate.split": split}, device=device, sheet=sheet)
    from ssl_bio.commands import plan

    plan.plan_evaluation(options, checkpoint)
    from ssl_bio.commands import evaluate

    evaluate.evaluate(options, checkpoint, data)


@app.command()
def report(
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="CSV", help="The results sheet; results.csv if it is there.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", metavar="DIR", help="Where run folders are; checkpoints if it is there."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="HTML", help="Where the page goes.")] = Path("report.html"),
    by: Annotated[str, typer.Option("--by", metavar="METRIC", help="What ranks the leaderboards that have it.")] = "",
) -> None:
    """Write one HTML page of all results: a leaderboard for each task, a section for each run.

    Examples:

    * `ssl-bio report`
    * `ssl-bio report --sheet /lab/results.csv --out lab.html --by AUROC`
    """
    from ssl_bio.commands import report

    report.report(sheet, runs, out=out, by=by)


@app.command()
def denoise(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", metavar="RUN", help="A run that denoises.")],
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="A recording: .hea, .wav, .npy, .npz, .csv or .mat.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where the clean one goes; same suffixes.")],
    sampling_rate: Annotated[
        float, typer.Option("--sampling-rate", min=0, metavar="HZ", help="Of a file that does not say it.")
    ] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Denoise a recording of any length and any number of channels with a finetuned run.

    Examples:

    * `ssl-bio denoise --checkpoint RUN --input night.hea --output clean.hea`
    * `ssl-bio denoise --checkpoint RUN --input ride.mat --sampling-rate 1000 --output clean.npz`
    """
    from ssl_bio.commands import denoise

    denoise.denoise(
        checkpoint,
        source=source,
        output=output,
        sampling_rate=sampling_rate,
        device=device,
        overwrite=overwrite,
    )


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your recordings, in any format and any folders.")],
    name: Annotated[str, typer.Option("--name", help="Of dataset and recipe. [the folder's]")] = "",
    subject: Annotated[
        str,
        typer.Option("--subject", metavar="HOW", help="Who is who: file, folder, or a regular expression on paths."),
    ] = "",
    target: Annotated[
        str, typer.Option("--target", metavar="HOW", help="What to learn: the same, or a column of --labels.")
    ] = "",
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="CSV", help="A table whose first column names recordings.")
    ] = None,
    sampling_rate: Annotated[
        float, typer.Option("--sampling-rate", min=0, metavar="HZ", help="Of recordings that do not say it.")
    ] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace table.csv and the recipe.")] = False,
) -> None:
    """Look at a folder of recordings, say what is there, and write table.csv and a recipe that runs.

    What no option says is asked in a terminal, and guessed elsewhere.

    Examples:

    * `ssl-bio init recordings`
    * `ssl-bio init recordings --labels patients.csv --target heart_rate`
    * `ssl-bio init sleep --subject "(sub-[0-9]+)" --target folder`
    """
    from ssl_bio.commands import init

    init.init(
        init.InitOptions(
            folder=folder,
            name=name,
            subject=subject,
            target=target,
            labels=labels,
            sampling_rate=sampling_rate,
            overwrite=overwrite,
            ask=sys.stdin.isatty() and sys.stdout.isatty(),
        )
    )


InputOption = Annotated[
    Path,
    typer.Option("--input", metavar="PATH", help="A recording, or a folder of them: WFDB, EDF, CSV, WAV, .npy, ..."),
]
NewRateOption = Annotated[
    float, typer.Option("--sampling-rate", min=0, metavar="HZ", help="Of recordings that do not say it.")
]
StrideOption = Annotated[
    float, typer.Option("--stride", min=0, metavar="S", help="From one window's start to the next.", show_default=False)
]
ReplaceOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]


@app.command()
def predict(
    source: InputOption,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="A table: .csv or .parquet.")],
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="RUN", help="A finetuned run; several are averaged. [newest]"),
    ] = None,
    sampling_rate: NewRateOption = 0.0,
    stride: StrideOption = 0.0,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the answers along each recording.")] = False,
    overwrite: ReplaceOption = False,
    device: DeviceOption = "auto",
) -> None:
    """What a finetuned run answers about new recordings: a line a window, a summary a recording. No labels needed.

    Channels are found by name, windows cut as the run's own were. Several runs (seeds, folds) are averaged, with their
    spread.

    Examples:

    * `ssl-bio predict --input night.edf --output night.csv`
    * `ssl-bio predict --checkpoint RUN_1 --checkpoint RUN_2 --input recordings --output answers.parquet --plot`
    """
    from ssl_bio.commands import predict

    predict.predict(
        predict.PredictOptions(
            checkpoints=checkpoints or (),
            source=source,
            output=output,
            sampling_rate=sampling_rate,
            stride=stride,
            device=device,
            plot=plot,
            overwrite=overwrite,
        )
    )


@app.command()
def embed(
    source: InputOption,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help=".npz or .parquet.")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="RUN", help="A run of any kind. [newest pretraining]")
    ] = None,
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            "--pooling", metavar="KIND", help="mean, max, std or middle of the tokens, side by side; or tokens. [mean]"
        ),
    ] = None,
    sampling_rate: NewRateOption = 0.0,
    stride: StrideOption = 0.0,
    overwrite: ReplaceOption = False,
    device: DeviceOption = "auto",
) -> None:
    """How a run's backbone sees new recordings: an embedding a window, or a token, with recording and time.

    Examples:

    * `ssl-bio embed --input night.edf --output night.npz`
    * `ssl-bio embed --checkpoint RUN --input recordings --output all.parquet --pooling mean --pooling std`
    """
    from ssl_bio.commands import embed

    embed.embed(
        embed.EmbedOptions(
            checkpoint=checkpoint,
            source=source,
            output=output,
            pooling=pooling or ["mean"],
            sampling_rate=sampling_rate,
            stride=stride,
            device=device,
            overwrite=overwrite,
        )
    )


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, finetuned or pretrained.")],
    file_format: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files instead of RUN/export.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export.")] = False,
) -> None:
    """Write a run's network for other programs, its normalisation inside, with a model card beside it.

    Examples:

    * `ssl-bio export checkpoints/har/finetune-full-seed0 --format onnx`
    * `ssl-bio export checkpoints/har/pretrain-seed0 --out embeddings`
    """
    if file_format != "onnx":
        raise RecipeError(f"--format {file_format}: choose onnx")
    from ssl_bio.commands import plan

    plan.plan_export(checkpoint)
    from ssl_bio.commands import export

    export.export(checkpoint, out=out, overwrite=overwrite)


@data_app.command("list")
def data_list(root: RootOption = "") -> None:
    """What can be had and what is prepared."""
    from ssl_bio.commands import data

    data.list_data(root)


@data_app.command("prepare")
def data_prepare(
    name: Annotated[
        str, typer.Argument(help="A name from `ssl-bio data list`, or a new one for recordings of your own.")
    ],
    origin: Annotated[
        str,
        typer.Option("--from", metavar="PATH_OR_URL", help="The publisher's folder, zip or address, or your folder."),
    ],
    recipe_name: Annotated[
        str, typer.Option("--recipe", metavar="FILE", help="Show the windows that this recipe's [data] cuts.")
    ] = "",
    overrides: SetOption = None,
    max_skipped: Annotated[
        float, typer.Option("--max-skipped", min=0, max=1, help="Share of broken records that may be left out.")
    ] = 0.05,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what was prepared under this name from elsewhere.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that read and cut.")] = 1,
    root: RootOption = "",
) -> None:
    """Read files once into a store of recordings, which any recipe opens; interrupted, the same command goes on.

    Examples:

    * `ssl-bio data prepare har --from "UCI HAR Dataset.zip"`
    * `ssl-bio data prepare sleep-lab --from my_folder_with_a_table_csv`
    * `ssl-bio data prepare mitdb --from mitdb.zip --set data.window=4.096 --set data.stride=2.048`
    """
    from ssl_bio.commands import data

    data.prepare_data(
        name=name,
        origin=origin,
        root=root,
        recipe_name=recipe_name,
        overrides=overrides or [],
        max_skipped=max_skipped,
        overwrite=overwrite,
        workers=workers,
    )


@data_app.command("check")
def data_check(name: Annotated[str, typer.Argument(help="A prepared dataset.")], root: RootOption = "") -> None:
    """Read every byte, compare with the fingerprint, count what splits share."""
    from ssl_bio.commands import data

    data.check_data(name, root)


@recipes_app.command("list")
def recipes_list() -> None:
    """Recipes found by name."""
    from ssl_bio.commands import recipes

    recipes.list_recipes()


@recipes_app.command("show")
def recipes_show(
    name: Annotated[str, typer.Argument(help="A name or a path.")],
    all_keys: Annotated[bool, typer.Option("--all", help="The defaults, too.")] = False,
) -> None:
    """Print each value of a recipe with its meaning and where it comes from."""
    from ssl_bio.commands import recipes

    recipes.show_recipe(name, all_keys=all_keys)


@recipes_app.command("keys")
def recipes_keys(
    section: Annotated[
        str, typer.Argument(help="A section or a kind, such as data, pretrain, pretrain.timemae or regression.")
    ] = "",
) -> None:
    """List every key with its type, default, unit and meaning."""
    from ssl_bio.commands import recipes

    recipes.list_keys(section)


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print a JSON schema of recipes for editors: ssl-bio recipes schema > ssl-bio.schema.json"""
    from ssl_bio.commands import recipes

    recipes.print_schema()


@recipes_app.command("validate")
def recipes_validate(name: Annotated[str, typer.Argument(help="A name or a path.")]) -> None:
    """Check a recipe; every error at once."""
    from ssl_bio.commands import recipes

    recipes.validate_recipe(name)


def _options(
    overrides: list[str] | None,
    chosen: Mapping[str, object],
    *,
    recipe: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    sheet: Path = Path("results.csv"),
    tensorboard: bool = False,
) -> "RunOptions":
    if resume and overwrite:
        raise RecipeError("--resume and --overwrite exclude each other: go on with the run, or replace it")
    from ssl_bio.commands.plan import RunOptions
    from ssl_bio.config import parse_overrides, with_value

    layer = parse_overrides(overrides or [])
    for path, value in chosen.items():
        if value is not None:
            layer = with_value(layer, path, value)
    return RunOptions(
        layer,
        recipe=recipe,
        out=out,
        resume=resume,
        overwrite=overwrite,
        device=device,
        sheet=sheet,
        tensorboard=tensorboard,
    )


def _parse_seeds(text: str | None, seed: int | None) -> list[int] | None:
    if text is None:
        return None
    if seed is not None:
        raise RecipeError("--seed and --seeds exclude each other")
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise RecipeError(f"--seeds {text}: write whole numbers with commas between, such as 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise RecipeError(f"--seeds {text}: each seed once, from 0 to {2**32 - 1}")
    return seeds
