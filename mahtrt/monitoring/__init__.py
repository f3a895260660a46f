"""A bundle in production: golden images again and again, and whether images still look alike."""
