"""U-Net: the baseline that landmark networks are compared with."""
