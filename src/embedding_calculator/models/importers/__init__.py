"""Published formats to plain float32 ONNX. Run once, when a model is pulled; never in the service."""
