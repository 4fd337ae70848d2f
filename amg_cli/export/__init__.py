"""Models as ONNX graphs, for other programs and for ONNX Runtime here."""
