"""HTTP service and command line.

The life of a request, bytes to JSON in five hops:

1. view        `protocols`  Flask finds the view; parameters are checked
2. decode      `uploads`    the request's images, decoded and resized in the request's thread
3. admission   `admission`  the model lets one run at a time in, and turns away who waits too long
4. session     `registry`   onnxruntime runs the batch on the model's device
5. encode      `encoding`   rows become JSON; errors of any hop do so in `errors`
"""
