"""An invented target: a device of its own, an engine format of its own, and nothing of mahtrt's."""
