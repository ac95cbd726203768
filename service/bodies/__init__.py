"""What requests carry: bytes as they came, forms, JSON, addresses; bounded before anything is built of it."""
