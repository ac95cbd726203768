"""Teaching in a running service: datasets, fine-tuning jobs in processes of their own, and models that are promoted."""
