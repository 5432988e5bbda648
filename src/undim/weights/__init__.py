"""Files of weights, in and out: our own safetensors, and the public checkpoints of the backbones."""
