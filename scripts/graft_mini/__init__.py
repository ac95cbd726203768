"""How the built-in model is made: prepare, teacher, train, export, in this order."""

MEAN, STD = (0.480, 0.448, 0.398), (0.277, 0.269, 0.282)  # of the training images, for R, G, B in 0..1
