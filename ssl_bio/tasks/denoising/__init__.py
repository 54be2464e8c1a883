"""Denoising: the signal without its noise."""

from ssl_bio.tasks.denoising.task import Denoising

__all__ = ["Denoising"]
