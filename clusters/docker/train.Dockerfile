# Everything: teacher, distillation, tagging. Build from the top of the checkout (the build is untested):
#   docker build -f clusters/docker/train.Dockerfile -t kogner-ray-train:0.1.0 .
# BASE needs CPython 3.10 or 3.11 and pip. torch's packages bring CUDA's libraries with them and a GPU node its driver, so
# the same base serves both; rayproject/ray:2.60.0-py311-cu128 is another one for GPUs (untested).
ARG BASE=python:3.11-slim
FROM ${BASE}
USER root
# wget: KubeRay's health probes; libgomp1: DGL and torch.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 wget && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY kogner_ray kogner_ray
RUN pip install --no-cache-dir ".[embedded]"
COPY jobs jobs
RUN id -u ray || useradd --create-home --uid 1000 ray
USER ray
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility RAY_USAGE_STATS_ENABLED=0
# Ray's GCS, dashboard and jobs, client, metrics.
EXPOSE 6379 8265 10001 8080
