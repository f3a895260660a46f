"""Fine-tuning for INT8 (quantisation-aware training): weights and ranges that fit a plan."""
