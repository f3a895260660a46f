"""From an exported ONNX to a bundle of checked engines, stage by stage."""
