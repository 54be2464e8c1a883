"""Runs the real command line in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from ssl_bio import cli

TINY = """
name = "tiny"
[data]
dataset = "synthetic"
normalize = "channel"
[data.synthetic]
n_subjects = 10
windows_per_subject = 8
[model]
d_model = 16
n_layers = 2
n_heads = 2
wave_length = 25
[pretrain]
decoder_layers = 1
vocab_size = 12
epochs = 3
batch_size = 16
[finetune]
mode = "linear-probe"
epochs = 2
batch_size = 16
lr = 1e-3
backbone_lr = 1e-4
"""


TINY_VQVAE = """
name = "tiny-vqvae"
[data]
dataset = "synthetic"
normalize = "channel"
channels = ["ecg"]
[data.synthetic]
n_subjects = 10
windows_per_subject = 8
[model]
kind = "vqvae"
d_model = 16
width = 8
n_layers = 1
wave_length = 20
dropout = 0.1
[model.s4d]
d_state = 8
[pretrain]
epochs = 3
batch_size = 16
input_noise = 0.1
input_mask = 0.1
fit_on = "train"
[pretrain.quantizer]
codebook_size = 16
code_dim = 4
cosine = true
[finetune]
mode = "linear-probe"
layers = "all"
epochs = 2
batch_size = 16
"""


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: str) -> Finished:
    """`ssl-bio ARGUMENTS`, as a user would type it."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with patch.object(sys, "argv", ["ssl-bio", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Finished(code, out.getvalue(), err.getvalue())


def succeed(*arguments: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = run(*arguments)
    assert done.code == 0, done.err + done.out
    assert done.err == ""
    return done.out


def refused(*arguments: str) -> str:
    """Run a command that must be refused as the house refuses: code 2 and one line without a traceback."""
    done = run(*arguments)
    assert done.code == 2, done.out + done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    return done.err


def only_run(pattern: str) -> Path:
    """Return the one run folder below `checkpoints/` whose path matches."""
    (found,) = Path("checkpoints").glob(pattern)
    return found
