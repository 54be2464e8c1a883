"""Every error that is the user's to mend.

    SslBioError
    ├── RecipeError      a recipe, a `--set` or an option that cannot be
    ├── DataError        recordings or a prepared dataset that are missing, broken or unfit
    ├── CheckpointError  a run folder or a weight file that is missing, broken or unfit
    ├── SheetError       a results sheet that is not one
    └── TrainingError    a run that cannot go on, such as a loss that is no longer finite

The command line prints the message as one line and exits with code 2. A message says what is wrong,
where, and what to do.
"""


class SslBioError(Exception):
    """Root of all errors that the command line reports without a traceback."""


class RecipeError(SslBioError):
    """A recipe, a `--set` or an option that cannot be."""


class DataError(SslBioError):
    """Recordings or a prepared dataset that are missing, broken or unfit."""


class CheckpointError(SslBioError):
    """A run folder or a weight file that is missing, broken or unfit."""


class SheetError(SslBioError):
    """A results sheet that is not one."""


class TrainingError(SslBioError):
    """A run that cannot go on."""
