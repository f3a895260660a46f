"""A bundle as a service of the Open Inference Protocol, with an endpoint for images."""
