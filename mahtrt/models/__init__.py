"""The networks that mahtrt knows, a folder per family; families.py lists them."""
