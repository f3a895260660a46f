"""One page of a bench that people read: HTML made from its JSON, without network or scripts."""
