# A container with p3dfeat for CPUs.
#   docker build -t p3dfeat .
#   docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" p3dfeat extract videos/ -o feats.h5
FROM python:3.11-slim
COPY . /src
RUN pip install --no-cache-dir --constraint /src/constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu '/src[cpu]' \
    && rm -rf /src \
    && mkdir -m 1777 /cache
ENV HF_HOME=/cache/huggingface P3DFEAT_CACHE=/cache/p3dfeat
WORKDIR /data
ENTRYPOINT ["p3dfeat"]
CMD ["--help"]
