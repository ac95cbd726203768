# Four images from one file:
#   docker build --target serve -t graft:serve .  what serving needs, and no more: the smallest
#   docker build --target cpu   -t graft .        all commands, onnxruntime for the CPU
#   docker build --target openvino -t graft:openvino .  the same with OpenVINO, for int8 networks on x86-64; it computes
#                                                 where `--device openvino` asks for it
#   docker build --target cuda  -t graft:cuda .   with CUDA and cuDNN from Python packages; run with --gpus all
# All of them serve the built-in model on port 8000; what stands after the image goes to `graft serve`, and
# GRAFT_SERVE_... variables and PORT are heeded.
# The base needs python, pip and venv. `make image-test` builds on one of its own making.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && for image in cpu openvino serve; do python -m deploy.requirements $image > /wheels/$image.txt; done

# Installed by the pip of the base: the environments have none.
FROM ${PYTHON} AS packages-serve
COPY --from=build /wheels /wheels
RUN python -m venv --without-pip /opt/graft \
 && pip --python /opt/graft/bin/python install --no-cache-dir -r /wheels/serve.txt \
 && pip --python /opt/graft/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS packages-cpu
COPY --from=build /wheels /wheels
RUN python -m venv --without-pip /opt/graft \
 && pip --python /opt/graft/bin/python install --no-cache-dir -r /wheels/cpu.txt \
 && pip --python /opt/graft/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS packages-openvino
COPY --from=build /wheels /wheels
RUN python -m venv --without-pip /opt/graft \
 && pip --python /opt/graft/bin/python install --no-cache-dir -r /wheels/openvino.txt \
 && pip --python /opt/graft/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM ${PYTHON} AS packages-cuda
COPY --from=build /wheels /wheels
RUN python -m venv --without-pip /opt/graft \
 && pip --python /opt/graft/bin/python install --no-cache-dir "$(ls /wheels/*.whl)[cuda]"

FROM ${PYTHON} AS base
RUN useradd --create-home --uid 1000 graft && mkdir /cache && chown graft /cache
ENV PATH=/opt/graft/bin:$PATH GRAFT_CACHE=/cache GRAFT_SERVE_HOST=0.0.0.0 PYTHONUNBUFFERED=1
# By number: Kubernetes cannot tell of a name that it is not root.
USER 1000
WORKDIR /home/graft
VOLUME /cache
EXPOSE 8000
# Asks /readyz where the service listens, by the command line and the environment of the first process.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-m", "service.cli.serve.probe"]
ENTRYPOINT ["graft", "serve"]

FROM base AS cuda
COPY --from=packages-cuda /opt/graft /opt/graft

FROM base AS openvino
COPY --from=packages-openvino /opt/graft /opt/graft

FROM base AS serve
COPY --from=packages-serve /opt/graft /opt/graft

FROM base AS cpu
COPY --from=packages-cpu /opt/graft /opt/graft
