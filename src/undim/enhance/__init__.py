"""Enhancing pictures with ONNX Runtime: one picture, or folders of them."""
