# The service and the tagger: no DGL, no TorchKGE. Build from the top of the checkout (the build is untested):
#   docker build -f clusters/docker/serve.Dockerfile -t kogner-ray-serve:0.1.0 .
# BASE as in train.Dockerfile. For CPUs alone, a CPU build of torch in the base image saves several GB of CUDA.
ARG BASE=python:3.11-slim
FROM ${BASE}
USER root
# wget: KubeRay's health probes; libgomp1: torch.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 wget && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml README.md LICENSE clusters/docker/serving_requirements.py ./
RUN python serving_requirements.py pyproject.toml > serving.txt && pip install --no-cache-dir -r serving.txt
COPY kogner_ray kogner_ray
# Without its dependencies: among them are those of training.
RUN pip install --no-cache-dir --no-deps .
COPY clusters/serve.yaml ./
RUN id -u ray || useradd --create-home --uid 1000 ray
USER ray
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility RAY_USAGE_STATS_ENABLED=0
# Ray's GCS, dashboard, client, Serve, metrics.
EXPOSE 6379 8265 10001 8000 8080
