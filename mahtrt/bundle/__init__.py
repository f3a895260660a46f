"""The .mahtrt format: manifest, reader, writer, golden vectors."""
