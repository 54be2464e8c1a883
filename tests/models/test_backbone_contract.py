"""What every backbone and every network of signals keeps, whatever is inside."""

import pytest
import torch
from torch import Tensor, nn

from ssl_bio.config import kinds
from ssl_bio.models.base import Backbone, SignalNetwork, StreamingBackbone
from tests.models.repeatability import assert_backward_repeats
from tests.models.small_settings import BACKBONES, SIGNAL_NETWORKS, BackboneSetting, SignalNetworkSetting


@pytest.fixture(params=BACKBONES)
def setting(request: pytest.FixtureRequest) -> BackboneSetting:
    if "bert" in request.param:
        pytest.importorskip("transformers", reason='the extra "bert" is not installed')
    return BACKBONES[request.param]


@pytest.fixture(params=SIGNAL_NETWORKS)
def signal_setting(request: pytest.FixtureRequest) -> SignalNetworkSetting:
    return SIGNAL_NETWORKS[request.param]


def signals(setting: BackboneSetting | SignalNetworkSetting, length: int, batch: int = 4) -> Tensor:
    return torch.randn(batch, setting.n_channels, length, generator=torch.Generator().manual_seed(1))


def assert_gradients_reach_all(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            # Of biases some have a gradient of zero: attention does not change when all keys are shifted.
            assert parameter.ndim < 2 or parameter.grad.any(), name


def test_every_kind_of_a_recipe_has_a_small_setting() -> None:
    networks: dict[str, type[nn.Module]] = {name: setting.network for name, setting in BACKBONES.items()}
    networks |= {name: setting.network for name, setting in SIGNAL_NETWORKS.items()}
    for name, network in networks.items():
        assert kinds.BACKBONES.load(name.partition(":")[0]) is network
    assert {name.partition(":")[0] for name in networks} == set(kinds.BACKBONES.builtin)


class TestBackbone:
    """The contract of `Backbone`."""

    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize("training", [False, True])
    def test_shapes(self, setting: BackboneSetting, batch: int, training: bool) -> None:
        backbone = setting.build().train(training)
        x = signals(setting, setting.length, batch)
        tokens, states = backbone(x), backbone.hidden_states(x)
        assert (backbone.n_channels, backbone.length) == (setting.n_channels, setting.length)
        assert tokens.shape == (batch, backbone.n_tokens, backbone.d_model)
        assert backbone.n_tokens * backbone.wave_length == setting.length + backbone.padding
        assert tuple(state.shape[-1] for state in states) == backbone.layer_widths
        assert min(state.shape[1] for state in states) == backbone.n_tokens
        assert backbone.auxiliary_loss().shape == ()
        if not training:
            assert torch.equal(states[-1], tokens)

    def test_shorter_inputs_and_longer_ones_up_to_a_limit(self, setting: BackboneSetting) -> None:
        backbone = setting.build().eval()
        longest = backbone.max_length or 3 * setting.length
        for length in (setting.length // 2, setting.length - 1, longest):
            tokens = backbone(signals(setting, length))
            assert tokens.shape == (4, backbone.count_tokens(length), backbone.d_model)
        if backbone.max_length is not None:
            with pytest.raises(ValueError, match=f"takes {longest} samples at most, got"):
                backbone(signals(setting, longest + 1))

    def test_gradients_reach_every_parameter(self, setting: BackboneSetting) -> None:
        backbone = setting.build()
        tokens = backbone(signals(setting, setting.length))
        weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2))
        ((tokens * weights).sum() + backbone.auxiliary_loss()).backward()
        assert_gradients_reach_all(backbone)

    def test_weights_and_results_follow_the_seed(self, setting: BackboneSetting) -> None:
        first, second, other = setting.build(0), setting.build(0), setting.build(1)
        assert_equal_states(first, second)
        assert any(not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))
        x = signals(setting, setting.length)
        outputs = []
        for backbone in (first, second):
            torch.manual_seed(7)
            outputs.append(backbone(x))
        assert torch.equal(*outputs)

    def test_backward_repeats_with_two_threads(self, setting: BackboneSetting) -> None:
        backbone, x = setting.build(), signals(setting, 4 * setting.length, batch=64)
        if backbone.max_length is not None:
            x = x[..., : setting.length]
        assert_backward_repeats(backbone, lambda: backbone(x).square().mean() + backbone.auxiliary_loss())

    def test_evaluation_changes_nothing_and_a_saved_state_answers_the_same(self, setting: BackboneSetting) -> None:
        backbone, other = setting.build(0), setting.build(1)
        x = signals(setting, setting.length)
        backbone(x)  # in training mode: batch statistics move
        state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
        backbone.eval()
        with torch.no_grad():
            first, second = backbone(x), backbone(x)
        assert torch.equal(first, second)
        other.load_state_dict(backbone.state_dict())
        assert_equal_states(backbone, other)
        assert all(torch.equal(state[name], tensor) for name, tensor in backbone.state_dict().items())
        with torch.no_grad():
            assert torch.equal(other.eval()(x), first)

    def test_every_parameter_is_in_one_stage(self, setting: BackboneSetting) -> None:
        backbone = setting.build()
        in_stages = [id(parameter) for stage in backbone.stages() for parameter in stage.parameters()]
        assert sorted(in_stages) == sorted(id(parameter) for parameter in backbone.parameters())
        assert all(list(stage.parameters()) for stage in backbone.stages())

    def test_stages_hold_the_layers_whose_mode_can_be_set(self, setting: BackboneSetting) -> None:
        backbone = setting.build()
        for stage in backbone.stages():
            stage.eval()
        with_weights = [module for module in backbone.modules() if list(module.parameters(recurse=False))]
        assert not any(module.training for module in with_weights if module is not backbone)

    def test_other_channels_change_the_input_layers_alone(self, setting: BackboneSetting) -> None:
        if setting.n_channels == 1:
            with pytest.raises(ValueError, match="single channel"):
                setting.build(n_channels=2)
            return
        wider = setting.build(n_channels=setting.n_channels + 1).state_dict()
        for name, tensor in setting.build().state_dict().items():
            assert name.startswith(setting.network.input_layers) or tensor.shape == wider[name].shape, name
        assert any(name.startswith(setting.network.input_layers) for name in wider)

    def test_nothing_beyond_the_receptive_field_is_seen(self, setting: BackboneSetting) -> None:
        backbone = setting.build().eval()
        if backbone.receptive_field is None:
            return
        field = backbone.receptive_field
        length = 4 * (field + backbone.wave_length)
        x = signals(setting, length, batch=1).requires_grad_()
        token = backbone.count_tokens(length) // 2
        (gradient,) = torch.autograd.grad(backbone(x)[0, token].square().sum(), x)
        seen = gradient[0].abs().sum(dim=0).nonzero().flatten() - token * backbone.wave_length
        assert int(seen.min()) >= -field
        assert int(seen.max()) <= field
        assert max(-int(seen.min()), int(seen.max())) == field, "it is no larger than it must be"

    def test_signals_of_one_channel_are_scaled_before_they_come(self, setting: BackboneSetting) -> None:
        if setting.n_channels == 1:
            assert setting.build().input_norm is None
            with pytest.raises(ValueError, match=r"data\.normalize must be 'none'"):
                setting.build(normalize="channel")
        else:
            norm = setting.build().input_norm
            assert norm is not None
            assert norm.normalize == setting.normalize


class TestStreaming:
    """The contract of `StreamingBackbone`."""

    def test_a_sample_at_a_time_is_the_same_as_all_at_once(self, setting: BackboneSetting) -> None:
        backbone = setting.build().eval()
        if not isinstance(backbone, StreamingBackbone):
            return
        x = signals(setting, 50)
        if not backbone.streams:
            with pytest.raises(ValueError, match="keeps no state"):
                backbone.prefill(x)
            return
        with torch.no_grad():
            whole = backbone(x)
            tokens, state = backbone.prefill(x[..., :7])
            torch.testing.assert_close(tokens, whole[:, :7], atol=1e-5, rtol=1e-4)
            for position in range(7, 50):
                token, state = backbone.step(x[:, 0, position], state)
                torch.testing.assert_close(token, whole[:, position], atol=1e-5, rtol=1e-4)


class TestSignalNetwork:
    """The contract of `SignalNetwork`."""

    @pytest.mark.parametrize("length", [1, 7, 256, 1000])
    def test_outputs_have_the_shape_of_inputs(self, signal_setting: SignalNetworkSetting, length: int) -> None:
        network = signal_setting.build().eval()
        for batch in (1, 3):
            x = signals(signal_setting, length, batch)
            assert network(x).shape == network.predict_x0(x, x).shape == x.shape

    def test_nothing_beyond_the_receptive_field_is_seen(self, signal_setting: SignalNetworkSetting) -> None:
        network = signal_setting.build().eval().double()
        field, multiple = network.receptive_field, network.length_multiple
        length = -(-(2 * field + 3 * multiple) // multiple) * multiple
        x = signals(signal_setting, length, batch=1).double().requires_grad_()
        place = length // 2
        (gradient,) = torch.autograd.grad(network(x)[0, :, place].sum(), x)
        seen = gradient.abs().amax(dim=(0, 1)).nonzero().flatten()
        assert place - field <= int(seen.min())
        assert int(seen.max()) <= place + field
        assert int(seen.max() - seen.min()) > 4

    def test_a_delayed_signal_gives_the_same_output_delayed(self, signal_setting: SignalNetworkSetting) -> None:
        network = signal_setting.build().eval()
        field, multiple = network.receptive_field, network.length_multiple
        x = signals(signal_setting, -(-(2 * field + 4 * multiple) // multiple) * multiple)
        with torch.no_grad():
            whole, later = network(x), network(x[..., multiple:])
        inner = slice(field, -field - multiple)
        torch.testing.assert_close(whole[..., multiple:][..., inner], later[..., inner], rtol=1e-4, atol=1e-4)

    def test_gradients_reach_every_parameter(self, signal_setting: SignalNetworkSetting) -> None:
        network, x = signal_setting.build(), signals(signal_setting, 128)
        (network.predict_x0(x, x) * signals(signal_setting, 128).flip(-1)).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert_gradients_reach_all(network)

    def test_backward_repeats_with_two_threads(self, signal_setting: SignalNetworkSetting) -> None:
        network, x = signal_setting.build(), signals(signal_setting, 512, batch=32)
        assert_backward_repeats(network, lambda: network.predict_x0(x, x).square().mean())

    def test_evaluation_changes_nothing_and_a_saved_state_answers_the_same(
        self, signal_setting: SignalNetworkSetting
    ) -> None:
        network, other = signal_setting.build(0), signal_setting.build(1)
        x = signals(signal_setting, 128)
        network.predict_x0(x, x)
        network.eval()
        with torch.no_grad():
            first, second = network(x), network(x)
            assert torch.equal(first, second)
            other.load_state_dict(network.state_dict())
            assert torch.equal(other.eval()(x), first)
        assert_equal_states(network, other)

    def test_weights_follow_the_seed(self, signal_setting: SignalNetworkSetting) -> None:
        first, second = signal_setting.build(0), signal_setting.build(0)
        assert_equal_states(first, second)

    def test_other_channels_change_the_input_layers_alone(self, signal_setting: SignalNetworkSetting) -> None:
        wider = signal_setting.build(n_channels=signal_setting.n_channels + 1).state_dict()
        for name, tensor in signal_setting.build().state_dict().items():
            assert name.startswith(signal_setting.network.input_layers) or tensor.shape == wider[name].shape, name

    def test_signals_are_scaled_before_they_come(self, signal_setting: SignalNetworkSetting) -> None:
        with pytest.raises(ValueError, match=r"data\.normalize must be 'none'"):
            signal_setting.build(normalize="channel")


def assert_equal_states(first: Backbone | SignalNetwork, second: Backbone | SignalNetwork) -> None:
    theirs = second.state_dict()
    assert list(first.state_dict()) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in first.state_dict().items())
