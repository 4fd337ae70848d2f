"""A network's graph in fewer bits, by ONNX Runtime's own tools."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnx import ModelProto

DTYPES = ("fp32", "fp16", "int8")
QUANTIZED = ["MatMul", "Gemm"]  # convolutions lose more by it than they gain


def reduce(graph: ModelProto, dtype: str, folder: Path) -> ModelProto:
    """The graph in a dtype, its inputs and outputs still in float32.

    folder: where its weights lie, and will lie
    """
    if dtype == "fp32":
        return graph
    return _in_fp16(graph, folder) if dtype == "fp16" else _in_int8(graph, folder)


def _in_fp16(graph: ModelProto, folder: Path) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    # By its path, as what is over 2 GB cannot be given.
    whole = folder / "whole.onnx"
    onnx.save(graph, whole)
    half = OnnxModel(convert_float_to_float16(str(whole), keep_io_types=True))
    half.topological_sort()  # the casts of inputs and outputs come last else
    del half.model.graph.value_info[:]  # which still says float32 of some
    return _apart(half.model, folder / "fp16.onnx")


def _in_int8(graph: ModelProto, folder: Path) -> ModelProto:
    """Weights in 8 bits, and what they multiply too, scaled as it comes."""
    from onnxruntime.quantization import quantize_dynamic

    whole, made = folder / "whole.onnx", folder / "int8.onnx"
    onnx.save(graph, whole)
    logging.disable(logging.WARNING)  # its advice, on the root logger
    try:
        quantize_dynamic(
            whole,
            made,
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
            use_external_data_format=True,
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(made, load_external_data=False)


def _apart(graph: ModelProto, path: Path) -> ModelProto:
    """A graph whose weights lie in a file beside `path`."""
    onnx.save_model(graph, path, save_as_external_data=True, location=f"{path.name}.data")
    return onnx.load(path, load_external_data=False)
