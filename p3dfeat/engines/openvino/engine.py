"""OpenVINO on the CPU. The graph is built operation by operation; OpenVINO's compiler fuses it and lays it out."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from p3dfeat.config import InputSpec
from p3dfeat.engines.batching import Fitting, in_whole_parts
from p3dfeat.engines.engine import Done, Engine
from p3dfeat.engines.fuse_batch_norm import folded
from p3dfeat.engines.normalize import LEAST_DEVIATION
from p3dfeat.engines.openvino.core import load_openvino, openvino_core
from p3dfeat.events import Calibrated
from p3dfeat.nets import P3D
from p3dfeat.nets.p3d import Bottleneck, FlatBottleneck
from p3dfeat.types import Batch, Pending, UInt8Array

BATCH_SIZE: Final = 4  # clips computed together; more are not faster on a CPU and delay results
GRAPH_VERSION: Final = 2  # increase it when _Graph computes something else: a calibration belongs to one graph


@dataclass(frozen=True)
class Quantized:
    """A network's graph in 8 bits."""

    model: Any  # openvino.Model with the layers asked for as outputs, in their order
    about: Calibrated


class OpenVINOEngine(Engine):
    """Runs a network on batches with OpenVINO. The layers that it returns are fixed at construction.

    quantized: the 8-bit graph of ``net`` for ``layers``. It is run instead of the full-precision graph.
    batch_size: number of clips wanted at once. The network still computes four at a time.
    Raises UsageError if OpenVINO is not installed or a layer is not in the network.
    """

    name = "openvino"

    def __init__(
        self,
        net: P3D,
        spec: InputSpec,
        *,
        layers: tuple[str, ...] = ("pool5",),
        quantized: Quantized | None = None,
        batch_size: int | None = None,
    ):
        net.architecture.check_layers(layers)
        core = openvino_core()
        self.device = torch.device("cpu")
        self.layers = layers
        self.precision = "fp32" if quantized is None else "int8"
        self.calibrated = None if quantized is None else quantized.about
        model = net_graph(net, spec, layers) if quantized is None else quantized.model
        # f32 is for the operations that are not quantised; on a processor with bf16, the default would be bf16.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._fitting = Fitting(self._start, device="cpu")
        self._size = in_whole_parts(batch_size or BATCH_SIZE, BATCH_SIZE)

    @property
    def batch_size(self) -> int:
        return self._size

    def start(self, batch: Batch) -> Pending:
        return self._fitting.start(batch.planes, BATCH_SIZE)

    def _start(self, planes: UInt8Array) -> Pending:
        found = self._request.infer([planes], share_inputs=True)
        return Done({name: np.array(found[number]) for number, name in enumerate(self.layers)})


def net_graph(net: P3D, spec: InputSpec, layers: tuple[str, ...]) -> Any:
    """An openvino.Model: (N, T, C, H, W) uint8 -> ``layers`` in their order. Each output has the name of its layer."""
    load_openvino()
    return _Graph(folded(net), spec).model(layers)


class _Graph:
    """The operations of a network whose batch norms are folded."""

    def __init__(self, net: P3D, spec: InputSpec):
        from openvino import opset13

        self._ops: Any = opset13
        self._net, self._spec = net, spec

    def model(self, layers: tuple[str, ...]) -> Any:
        """(N, T, C, H, W) uint8 -> the layers asked for, in their order; N is free."""
        import openvino

        ops, spec, architecture = self._ops, self._spec, self._net.architecture
        frames = ops.parameter([-1, spec.length, spec.num_channels, *spec.size], np.uint8, name="frames")
        found: dict[str, Any] = {}
        x = self._convolution(self._normalized(frames), self._net.conv1)
        x = self._pool1(ops.relu(x).output(0))
        found["pool1"] = x
        for stage in (2, 3, 4, 5):
            for name in architecture.stage_blocks(stage):
                x = self._block(x, self._net.get_submodule(name)).output(0)
                found[name] = x
            if stage < 5:
                x = self._pool(x, (2, 1, 1), (2, 1, 1), (0, 0, 0))
            if stage == 4:
                x = ops.squeeze(x, self._axes(2))
        found["pool5"] = x = ops.reduce_mean(x, self._axes(2, 3), keep_dims=False)
        fc = self._net.fc
        x = ops.add(ops.matmul(x, self._constant(fc.weight), False, True), self._constant(fc.bias))
        found["logits"] = x
        found["prob"] = ops.softmax(x, axis=1)
        results = [ops.result(found[name]) for name in layers]
        for name, result in zip(layers, results, strict=True):
            result.output(0).get_tensor().add_names({name})
        return openvino.Model(results, [frames], "p3d")

    def _normalized(self, frames: Any) -> Any:
        """The same as ``engines.normalize``; gives (N, C, T, H, W)."""
        ops, spec = self._ops, self._spec
        mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
        x = ops.multiply(ops.convert(frames, "f32"), np.float32(spec.scale))
        x = ops.divide(ops.subtract(x, mean), std)
        if spec.standardize:
            axes = self._axes(1, 2, 3, 4)
            x = ops.subtract(x, ops.reduce_mean(x, axes, keep_dims=True))
            deviation = ops.sqrt(ops.reduce_mean(ops.multiply(x, x), axes, keep_dims=True))
            x = ops.divide(
                x, ops.maximum(deviation, np.float32(LEAST_DEVIATION * spec.scale / max(map(abs, spec.std))))
            )
        return ops.transpose(x, np.array([0, 2, 1, 3, 4]))

    def _block(self, x: Any, block: nn.Module) -> Any:
        assert isinstance(block, Bottleneck | FlatBottleneck)
        ops = self._ops
        y = ops.relu(self._convolution(x, block.conv_reduce))
        if isinstance(block, Bottleneck):
            y = self._pseudo_3d(y, block)
        else:
            y = ops.relu(self._convolution(y, block.conv_spatial))
        y = self._convolution(y, block.conv_expand)
        shortcut = self._convolution(x, block.shortcut[0]) if isinstance(block.shortcut, nn.Sequential) else x
        return ops.relu(ops.add(y, shortcut))

    def _pseudo_3d(self, x: Any, block: Bottleneck) -> Any:
        ops, arithmetic = self._ops, block.arithmetic
        s = ops.relu(self._convolution(x, block.conv_spatial))
        t = self._convolution(x if block.kind == "B" else s, block.conv_temporal)
        if block.kind == "A":
            return ops.relu(t)
        if block.kind == "B":
            return ops.add(s, ops.relu(t)) if arithmetic.rectified_t_in_b else ops.relu(ops.add(s, t))
        if arithmetic.halved_c:
            return ops.relu(ops.multiply(ops.add(s, t), np.float32(0.5)))
        return ops.add(s, ops.relu(t))

    def _convolution(self, x: Any, convolution: nn.Module) -> Any:
        assert isinstance(convolution, nn.Conv2d | nn.Conv3d)
        dimensions = len(convolution.kernel_size)
        padding = list(map(int, convolution.padding))
        y = self._ops.convolution(
            x, self._constant(convolution.weight), list(convolution.stride), padding, padding, [1] * dimensions
        )
        assert convolution.bias is not None
        # NNCF corrects a bias only if its rank is that of the tensor to which it is added.
        return self._ops.add(y, self._constant(convolution.bias.reshape(1, -1, *[1] * dimensions)))

    def _pool1(self, x: Any) -> Any:
        padding = (0, 1, 1) if self._net.architecture.arithmetic.padded_pools else (0, 0, 0)
        return self._pool(x, (2, 3, 3), (2, 2, 2), padding)

    def _pool(self, x: Any, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Any:
        rounding = "floor" if self._net.architecture.arithmetic.padded_pools else "ceil"
        sizes = [x.get_partial_shape()[axis].get_length() for axis in (2, 3, 4)]
        fitting = [min(each, size + 2 * pad) for each, size, pad in zip(kernel, sizes, padding, strict=True)]
        pooled = self._ops.max_pool(x, list(stride), [1] * 3, list(padding), list(padding), fitting, rounding)
        return pooled.output(0)  # output 1 holds the indices of the maxima

    def _constant(self, value: torch.Tensor) -> Any:
        """A constant from memory. Arrays passed to operations would be converted to lists, 100 times slower."""
        return self._ops.constant(np.ascontiguousarray(value.detach().numpy()))

    @staticmethod
    def _axes(*axes: int) -> Any:
        return np.array(axes, np.int64)
