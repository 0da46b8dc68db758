"""A trained model in forms that other programs read: ONNX, and MONAI's bundle."""
