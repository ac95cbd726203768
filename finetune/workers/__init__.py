"""One run of fine-tuning on several processes: features by parts, steps by gradients that are added up."""
