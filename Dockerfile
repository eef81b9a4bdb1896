# Two stages: the first has a compiler, because python-gssapi has no wheel; the second has what runs.
FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libkrb5-dev python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/ requirements/
RUN python3 -m venv /opt/zerotrust \
 && /opt/zerotrust/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
 && /opt/zerotrust/bin/pip install --no-cache-dir --no-build-isolation --require-hashes -r requirements/broker.txt
COPY pyproject.toml README.md LICENSE ./
COPY broker/ broker/
COPY zerotrust_kerberos/ zerotrust_kerberos/
RUN /opt/zerotrust/bin/pip install --no-cache-dir --no-build-isolation --no-deps .

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgssapi-krb5-2 python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --shell /usr/sbin/nologin zerotrust \
 && install -d -o zerotrust -g zerotrust -m 0750 /var/log/zerotrust /run/zerotrust \
 && install -d -o zerotrust -g zerotrust -m 0700 /var/lib/zerotrust
COPY --from=build /opt/zerotrust /opt/zerotrust
ENV PATH=/opt/zerotrust/bin:$PATH PYTHONDONTWRITEBYTECODE=1 STATE_DIRECTORY=/var/lib/zerotrust
USER zerotrust
EXPOSE 8443
VOLUME ["/var/log/zerotrust", "/var/lib/zerotrust"]
# Alive is what a container is restarted for; whether it is ready is the orchestrator's /readyz.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
  CMD ["python3", "-c", "import ssl,urllib.request as u; c=ssl._create_unverified_context(); u.urlopen('https://127.0.0.1:8443/healthz', timeout=2, context=c)"]
ENTRYPOINT ["zerotrust-broker"]
CMD ["serve", "--config", "/etc/zerotrust/config.yaml"]
