"""Networks as ONNX: what onnxruntime computes is what torch computes, for every kind that can be exported."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bio.errors import CheckpointError
from ssl_bio.models import onnx
from ssl_bio.models.onnx import ExportedNetwork, largest_difference, onnx_model, run_onnx
from ssl_bio.models.s4d import S4DKernel
from tests.models.small_settings import BACKBONES, SIGNAL_NETWORKS

#: Codes of the vector-quantisation library: what it does depends on its data.
NOT_EXPORTED = "attention: sinusoidal positions, codes"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _extra() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)


def network_of(name: str) -> ExportedNetwork:
    """Return a small network of a kind, with statistics that are not those of new layers."""
    module = BACKBONES[name].build() if name in BACKBONES else SIGNAL_NETWORKS[name].build()
    length = BACKBONES[name].length if name in BACKBONES else 64
    with torch.no_grad():
        module.train()(torch.randn(8, module.n_channels, length) * 3 + 1)
    return ExportedNetwork(module.eval(), module.n_channels, length, {"output": ""})


def signals(network: ExportedNetwork, batch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(batch)
    return rng.standard_normal((batch, network.n_channels, network.length)).astype(np.float32)


@pytest.mark.parametrize("name", [name for name in (*BACKBONES, *SIGNAL_NETWORKS) if name != NOT_EXPORTED])
def test_onnxruntime_computes_what_torch_does_for_batches_of_any_size(name: str) -> None:
    network = network_of(name)
    model = onnx_model(network, {})
    for batch in (1, 2, 5):
        assert largest_difference(model, network, signals(network, batch)) < 1e-5


def test_a_network_that_cannot_be_exported_says_so_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match=r"^torch cannot write this network as ONNX: .+") as raised:
        onnx_model(network_of(NOT_EXPORTED), {})
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


class _Causal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)


def test_attention_that_is_causal_by_itself_is_refused_and_not_written_wrong() -> None:
    with pytest.raises(CheckpointError, match="its attention has is_causal or enable_gqa: hand it a mask"):
        onnx_model(ExportedNetwork(_Causal().eval(), 2, 16, {"output": ""}), {})


class _Two(nn.Module):
    """Gives two outputs, one of them above 1."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(dim=-1), x + 1000


def test_several_outputs_have_names_and_metadata_are_there() -> None:
    import onnx as library

    network = ExportedNetwork(_Two(), 2, 8, {"mean": "", "shifted": ""})
    model = onnx_model(network, {"channels": "a, b"})
    found = library.load_from_string(model)
    assert [output.name for output in found.graph.output] == ["mean", "shifted"]
    assert [one.dim_param or one.dim_value for one in found.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        2,
        8,
    ]
    assert {one.key: one.value for one in found.metadata_props}["channels"] == "a, b"
    assert [one.shape for one in run_onnx(model, signals(network, 4))] == [(4, 2), (4, 2, 8)]


def test_a_difference_is_found_and_is_relative_above_one() -> None:
    network = ExportedNetwork(_Two(), 2, 8, {"mean": "", "shifted": ""})
    model = onnx_model(network, {})

    class Other(_Two):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, shifted = super().forward(x)
            return mean, shifted + 1

    difference = largest_difference(model, network._replace(module=Other()), np.zeros((1, 2, 8), np.float32))
    assert difference == pytest.approx(1 / 1001)


def test_a_fixed_kernel_is_the_one_that_was_and_goes_with_the_mode() -> None:
    kernel = S4DKernel(n_channels=2, d_state=4).eval()
    with torch.no_grad():
        before = kernel(16)
        kernel.fix()
        kernel.log_step.add_(1.0)
        assert torch.equal(kernel(16), before)
        assert not torch.equal(kernel(8), before[:, :8])
        assert not torch.equal(kernel.eval()(16), before)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bio.models.onnx.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(CheckpointError, match=r'needs onnxscript: pip install "ssl-bio\[onnx\]"'):
        onnx.check_onnx()
