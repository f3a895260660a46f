"""A bundle as a service: images come in over the network, reports go out."""
