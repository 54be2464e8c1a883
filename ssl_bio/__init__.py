"""Self-supervised pretraining, finetuning and honest evaluation for biosignals."""

__version__ = "0.1.0"
