# MLflow's server with users. Build from the repository's root; docs/containers.md says how, and how to pin BASE_IMAGE by its
# digest.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
WORKDIR /app
COPY docker/mlflow/requirements.txt requirements.txt
# wheels only: the image that this runs in has no compiler either
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt
COPY docker/health.py docker/rds-ca.pem docker/mlflow/registry_lock.py docker/mlflow/serve.py docker/mlflow/users.py ./
RUN rm requirements.txt && python -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    TMPDIR=/tmp \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_HOST=0.0.0.0 \
    MLFLOW_PORT=5000 \
    MLFLOW_WORKERS=2 \
    MLFLOW_BACKEND_STORE_URI=sqlite:////state/mlflow.db \
    MLFLOW_ARTIFACTS_DESTINATION=/state/artifacts \
    AUTH_DATABASE_URI=sqlite:////state/users.db
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /app /app
# any other user writes there as well if it is in group 0, as OpenShift's are
RUN install -d -m 0770 -o 10001 -g 0 /state
# Fargate gives a volume that is declared here its folder's mode, any other to root alone
VOLUME ["/state", "/tmp"]
# after the large layers: a new commit alone leaves them as they are
ARG BASE_IMAGE
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="fraud MLflow" \
      org.opencontainers.image.description="MLflow's server with users, for PostgreSQL and S3" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.revision="${COMMIT}"
WORKDIR /app
USER 10001:0
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "health.py", "MLFLOW_PORT"]
CMD ["python", "serve.py"]
