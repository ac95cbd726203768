"""scikit-learn classifiers and regressors on features, and their way into ONNX."""
