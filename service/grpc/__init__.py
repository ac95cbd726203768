"""gRPC beside HTTP, in the same loop: `inference.GRPCInferenceService`, TensorFlow Serving, health and reflection.

A call goes the way of a request over HTTP: the front's gate lets it in or turns it away (`calls`), a worker of the
front parses its message and asks what HTTP asks (`open_inference`, `tensorflow_serving`), and its answer or its error
goes back (`status`). `protos/` holds the definitions, `messages` makes classes of them.
"""
