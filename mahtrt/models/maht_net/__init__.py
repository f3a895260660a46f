"""MAHT-Net: CNN encoder, transformer bottleneck, attention-gated decoder, heatmap head."""
