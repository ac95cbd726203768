# Two images from one file:
#   docker build --target cpu  -t graft .        onnxruntime for the CPU
#   docker build --target cuda -t graft:cuda .   with CUDA and cuDNN from Python packages; run with --gpus all
# Both serve the built-in model on port 8000; what stands after the image goes to `graft serve`, and GRAFT_SERVE_...
# variables and PORT are heeded.
ARG PYTHON=3.12-slim

FROM python:${PYTHON} AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:${PYTHON} AS packages-cpu
COPY --from=build /wheels /wheels
# onnxruntime-gpu unpacks to 340 MB, most of it CUDA code. The CPU image takes onnxruntime in its place: it
# installs what the wheel asks for but for that, then the wheel alone.
RUN python -m venv /opt/graft \
 && /opt/graft/bin/python -c "import glob, re, zipfile; \
wheel = zipfile.ZipFile(glob.glob('/wheels/*.whl')[0]); \
meta = wheel.read(next(n for n in wheel.namelist() if n.endswith('.dist-info/METADATA'))).decode(); \
needs = [n for n in re.findall(r'^Requires-Dist: (.+)', meta, re.M) if 'extra ==' not in n]; \
print('\n'.join(re.sub(r'^onnxruntime-gpu', 'onnxruntime', n) for n in needs))" > /tmp/needs.txt \
 && /opt/graft/bin/pip install --no-cache-dir -r /tmp/needs.txt \
 && /opt/graft/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:${PYTHON} AS packages-cuda
COPY --from=build /wheels /wheels
RUN python -m venv /opt/graft \
 && /opt/graft/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[cuda]"

FROM python:${PYTHON} AS base
RUN useradd --create-home --uid 1000 graft && mkdir /cache && chown graft /cache
ENV PATH=/opt/graft/bin:$PATH GRAFT_CACHE=/cache GRAFT_SERVE_HOST=0.0.0.0 PYTHONUNBUFFERED=1
USER graft
WORKDIR /home/graft
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as u; \
port = os.environ.get('GRAFT_SERVE_PORT') or os.environ.get('PORT') or 8000; \
u.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=2)"]
ENTRYPOINT ["graft", "serve"]

FROM base AS cuda
COPY --from=packages-cuda /opt/graft /opt/graft

FROM base AS cpu
COPY --from=packages-cpu /opt/graft /opt/graft
