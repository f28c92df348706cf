# Stands for postgres:15-bookworm where no registry of images answers: Debian's own PostgreSQL 15, and the part of
# upstream's entrypoint that docker-compose.yml uses. As there, any user may be the server's.
FROM localhost/mixopt-test/bookworm
RUN apt-get update \
    && mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends libnss-wrapper postgresql-15 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --mode=1777 /var/run/postgresql /var/lib/postgresql/data
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
CMD ["postgres"]
