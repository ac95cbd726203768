"""What a model is: card, zoo, weights, preprocessing, cutting and onnxruntime sessions."""
