"""Shipped models: `<name>.onnx` and `<name>.safetensors` with the card `<name>.md` of each. No code lives here."""
