"""What a device team files about a bundle: protocol, certificate, materials, changes."""
