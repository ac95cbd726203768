"""Classifiers and regressions of scikit-learn on the features of a frozen network, exported as ONNX nodes.

`embedding` of their tops is what the trunk gives, as it is: standardising belongs to the classifier.
"""
