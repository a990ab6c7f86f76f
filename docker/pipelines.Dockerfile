# The pipeline steps. Build from the repository's root; docs/containers.md says how, and how to pin BASE_IMAGE by its digest.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
WORKDIR /app
COPY requirements/pipelines.txt requirements.txt
# wheels only: the image that this runs in has no compiler either
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt
COPY docker/rds-ca.pem rds-ca.pem
COPY ml_project ml_project
COPY contracts contracts
COPY stores stores
COPY pipelines pipelines
# nothing can be compiled where the file system is read-only
RUN rm requirements.txt && python -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    TMPDIR=/tmp \
    GIT_PYTHON_REFRESH=quiet \
    FRAUD_STATE_DIR=/state \
    FRAUD_USER=pipelines
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /app /app
# any other user writes there as well if it is in group 0, as OpenShift's are
RUN install -d -m 0770 -o 10001 -g 0 /state
# Fargate gives a volume that is declared here its folder's mode, any other to root alone
VOLUME ["/state", "/tmp"]
# after the large layers: a new commit alone leaves them as they are
ARG BASE_IMAGE
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="fraud pipelines" \
      org.opencontainers.image.description="Trains, compares and promotes card-fraud models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.revision="${COMMIT}"
# there is no git checkout here from which runs could take the commit
ENV MLFLOW_RUN_CONTEXT="{\"mlflow.source.git.commit\": \"${COMMIT}\"}"
WORKDIR /app
USER 10001:0
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "pipelines"]
CMD ["main"]
