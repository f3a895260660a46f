"""Images and landmarks: reading, preparing, and phantoms to try things on."""
