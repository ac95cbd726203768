"""A graph of tensors with derivatives, compiled to ONNX and run by onnxruntime."""
