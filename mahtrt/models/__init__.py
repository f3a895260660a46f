"""The networks that mahtrt knows, one family per file."""

from mahtrt.models.families import FAMILIES, build_model, model_from_spec, model_names

__all__ = ["FAMILIES", "build_model", "model_from_spec", "model_names"]
