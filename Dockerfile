# Two stages: the first has a compiler, because python-gssapi has no wheel; the second has what runs, and no pip.
# BASE may name the same image by its digest, or a mirror's: what is installed on it comes from the hash locks either way.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# Debian removes a version when it has a better one, so none can be named: what comes is what its signed index says.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libkrb5-dev python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/build.txt requirements/broker.txt requirements/
RUN python3 -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && /tools/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes --wheel-dir /wheels -r requirements/broker.txt
COPY pyproject.toml README.md LICENSE ./
COPY man/ man/
COPY zerotrust_kerberos/ zerotrust_kerberos/
COPY broker/ broker/
# The tools stay here: a pip in the result would be a way to bring other code to it.
RUN /tools/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --no-index --wheel-dir /wheels . \
 && python3 -m venv --without-pip /opt/zerotrust \
 && /tools/bin/pip --python /opt/zerotrust/bin/python install --no-index --no-deps --no-cache-dir /wheels/*.whl

FROM ${BASE}
# Nothing in there may become anybody else: no file keeps a set-user-ID bit.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgssapi-krb5-2 python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && groupadd --gid 10001 zerotrust \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin zerotrust \
 && install -d -o 10001 -g 10001 -m 0750 /var/log/zerotrust /run/zerotrust \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/zerotrust
COPY --from=build /opt/zerotrust /opt/zerotrust
# As in the unit: the state's folder, MIT's replay cache in it, and memory that is overwritten when it is freed (docs/memory.md).
ENV PATH=/opt/zerotrust/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIRECTORY=/var/lib/zerotrust \
    KRB5RCACHEDIR=/var/lib/zerotrust \
    PYTHONMALLOC=malloc \
    GLIBC_TUNABLES=glibc.malloc.perturb=90:glibc.malloc.tcache_count=0
# By number: Kubernetes can tell that it is not root (runAsNonRoot) only where no name has to be looked up.
USER 10001:10001
EXPOSE 8443
VOLUME ["/var/log/zerotrust", "/var/lib/zerotrust"]
# Alive is what a container is restarted for; whether it is ready is for whoever sends requests to it, by /readyz.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["zerotrust-broker", "health"]
ENTRYPOINT ["zerotrust-broker"]
CMD ["serve"]
