"""Shipped models: `<name>.onnx` and `<name>.safetensors` with their card `<name>.md` beside them. No code lives here."""
