"""`ssl-bio denoise`: a recording of any length, denoised by a finetuned run."""

from pathlib import Path

from ssl_bio.tasks.denoising.recordings import denoise_recording
from ssl_bio.training import runtime


def denoise(
    checkpoint: Path, *, source: Path, output: Path, sampling_rate: float, device: str, overwrite: bool
) -> None:
    """Denoise the recording in the file `source` and write it, at its own rate, to `output`."""
    denoise_recording(
        checkpoint,
        source=source,
        output=output,
        sampling_rate=sampling_rate,
        device=runtime.pick_device(device),
        overwrite=overwrite,
    )
