# One image; its command decides what it is: `python -m service` or `python -m worker`.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/dlb
ENV PATH=/opt/dlb/bin:$PATH
WORKDIR /src
# The libraries first: they change less often than the code, and weigh far more.
COPY pyproject.toml requirements.lock requirements-dev.lock ./
# With two small extras: traces and another database are a setting away.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *(d for extra in ('otel', 'postgresql') for d in p['optional-dependencies'][extra]), sep='\n')" > dependencies.txt \
    && pip install --requirement dependencies.txt --constraint requirements.lock --constraint requirements-dev.lock
COPY LICENSE README.md THIRD_PARTY.md ./
COPY dlb_core dlb_core
COPY service service
COPY worker worker
COPY weights weights
RUN pip install --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /tmp dlb \
    && install --directory --owner dlb --group dlb --mode 0700 /data
COPY --from=build /opt/dlb /opt/dlb
ENV PATH=/opt/dlb/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    DLB_DATA=/data \
    DLB_HOST=0.0.0.0 \
    DLB_PORT=8000
USER 10001
WORKDIR /tmp
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-m", "service.health"]
CMD ["python", "-m", "service"]
