# fitwell with the package versions of constraints.txt, for CPUs or for NVIDIA GPUs.
#
#   docker build -t fitwell .
#   docker build -t fitwell:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker run --rm -v "$PWD:/work" fitwell train digits
#   docker run --rm -v "$PWD:/work" --gpus all --ipc=host fitwell:cuda env --need gpu
#
# A GPU needs a driver on the host and the NVIDIA container toolkit, and nothing of CUDA in the
# image: the build of torch brings its own. `fitwell env` names a driver that is too old for it.
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=""

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY docs/coverage.tsv docs/coverage.tsv
COPY src src
RUN pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" \
        --extra-index-url https://pypi.org/simple torch \
    && pip install --no-cache-dir -c constraints.txt ".$EXTRAS" \
    && pip check

WORKDIR /work
ENV FITWELL_CACHE=/cache
ENTRYPOINT ["fitwell"]
CMD ["--help"]
