"""Networks as ONNX files, which other programs run without torch. Writing them needs the extra `onnx`."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_bio.errors import CheckpointError
from ssl_bio.models.s4d import S4DKernel

INPUT = "signals"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_EXAMPLE_BATCH = 3  # any number but 1, which an export takes for a constant

Floats = NDArray[np.float32]


class ExportedNetwork(NamedTuple):
    """A network as other programs run it, in evaluation mode on the CPU.

    `module` takes float32 signals `(batch, n_channels, length)` as the run's dataset has them, and scales them itself;
    it gives one tensor or a tuple of several. `outputs`: for each its name, and what it holds in which shape.
    """

    module: nn.Module
    n_channels: int
    length: int
    outputs: Mapping[str, str]

    def __call__(self, signals: Floats) -> list[NDArray[Any]]:
        """Return the outputs as torch computes them."""
        with torch.no_grad():
            found = self.module(torch.from_numpy(signals))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]


def check_onnx() -> None:
    """Raise CheckpointError when a library is missing that an export needs."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CheckpointError(f'--format onnx needs {", ".join(missing)}: pip install "ssl-bio[onnx]"')


def onnx_model(network: ExportedNetwork, properties: Mapping[str, str]) -> bytes:
    """Return an ONNX model for batches of any size; `properties` go into its metadata.

    Raises CheckpointError for a network that does what ONNX or torch's exporter does not know.
    """
    example = torch.zeros(_EXAMPLE_BATCH, network.n_channels, network.length)
    fix_kernels(network.module, example)
    with torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                network.module,
                (example,),
                input_names=[INPUT],
                output_names=list(network.outputs),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                custom_translation_table=_translations(),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CheckpointError(f"torch cannot write this network as ONNX: {_reason(error)}") from error
    if program is None:
        raise CheckpointError("torch cannot write this network as ONNX: it gave nothing")
    model = program.model_proto
    _name_batch(model)
    for name, value in properties.items():
        model.metadata_props.add(key=name, value=value)
    found: bytes = model.SerializeToString()
    return found


def _name_batch(model: Any) -> None:
    """Give the first dimension of inputs and outputs its name.

    Raises CheckpointError where the network computes something else for other batches.
    """
    graph = model.graph
    axis = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if not axis:
        raise CheckpointError("torch cannot write this network as ONNX: what it computes depends on the batch")
    for tensor in (*graph.input, *graph.output, *graph.value_info):
        for size in tensor.type.tensor_type.shape.dim:
            if size.dim_param == axis:
                size.dim_param = "batch"


def run_onnx(model: bytes, signals: Floats) -> list[NDArray[Any]]:
    """Return the outputs of an ONNX model as onnxruntime computes them on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {INPUT: signals}))


def largest_difference(model: bytes, network: ExportedNetwork, signals: Floats) -> float:
    """Return by how much an ONNX model differs from torch at most; of outputs above 1, as a share of them."""
    differences = [0.0]
    for ours, theirs in zip(run_onnx(model, signals), network(signals), strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        scale = np.maximum(np.abs(theirs.astype(np.float64)), 1.0)
        differences.append(float((np.abs(ours.astype(np.float64) - theirs) / scale).max()))
    return float(np.max(differences))  # NaN where there is one


def fix_kernels(module: nn.Module, example: Tensor) -> None:
    """Make the convolution kernels of S4D layers constants for signals as long as the example's."""
    with torch.no_grad():
        module.eval()(example)
    for part in module.modules():
        if isinstance(part, S4DKernel):
            part.fix()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of its own parts, and the graphs that it prints, while the block runs."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Return the first line of what is behind an exporter's error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return torch's operations that the exporter lacks, or has for other shapes, in those of ONNX.

    Tensors are `Any`: they are the exporter's own, which its operators have no types for.
    """
    import onnx
    from onnxscript import opset18

    op: Any = opset18

    def unfold(signal: Any, dim: int, size: int, step: int) -> Any:
        """Windows of a dimension of fixed length: they are gathered, and their samples moved to the end."""
        rank = len(signal.shape)
        dim %= rank
        starts = range(0, int(signal.shape[dim]) - size + 1, step)
        samples = [start + offset for start in starts for offset in range(size)]
        index = onnx.helper.make_tensor("windows", onnx.TensorProto.INT64, [len(starts), size], samples)
        windows = op.Gather(signal, op.Constant(value=index), axis=dim)
        return op.Transpose(windows, perm=[*range(dim + 1), *range(dim + 2, rank + 1), dim + 1])

    def attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        """Scaled dot-product attention (Vaswani et al. 2017) with any number of leading dimensions."""
        # No network here asks for either: they hand a mask. One of a plugin that does is refused, not written wrong.
        if is_causal or enable_gqa:
            raise CheckpointError("its attention has is_causal or enable_gqa: hand it a mask instead")
        rank, width = len(query.shape), int(query.shape[-1])
        turned = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
        factor = op.CastLike(op.Constant(value_float=width**-0.5 if scale is None else scale), query)
        scores = op.MatMul(op.Mul(query, factor), turned)
        if attn_mask is not None and attn_mask.dtype.name == "BOOL":
            scores = op.Where(attn_mask, scores, op.CastLike(op.Constant(value_float=float("-inf")), query))
        elif attn_mask is not None:
            scores = op.Add(scores, attn_mask)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    return {
        torch.ops.aten.unfold.default: unfold,
        torch.ops.aten.scaled_dot_product_attention.default: attention,
    }
