"""What a fine-tuned model is worth: measures, plots, and the page that shows them."""
