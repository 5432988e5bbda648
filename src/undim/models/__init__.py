"""Shipped models: `<name>.onnx` with its card `<name>.json` beside it. No code lives here."""
