"""A whole fine-tuning job: labelled images in, one trusted model file and a report out."""
