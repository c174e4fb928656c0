#!/bin/sh
# wal_segments.sh DATA FOLDER: copy a full WAL segment of this cluster, and one that is nearly empty.
# pg_control beside them tells the cluster. They are copied at once, because the server recycles its own.
set -eu
asked() { psql -qAtX -d bench -c "$1"; }
mkdir -p "$2/full" "$2/short" "$2/global"
asked "SELECT pg_switch_wal()" >/dev/null
full=$(asked "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
asked "CREATE TABLE filler AS SELECT n, md5(n::text) AS token FROM generate_series(1, 400000) n"
asked "SELECT pg_switch_wal()" >/dev/null
asked "DROP TABLE filler"
short=$(asked "SELECT pg_walfile_name(pg_switch_wal())")
cp "$1/global/pg_control" "$2/global/"
cp "$1/pg_wal/$full" "$2/full/"
cp "$1/pg_wal/$short" "$2/short/"
