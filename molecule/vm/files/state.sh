#!/bin/sh
# Everything that tuning could change on a machine, as text: files byte for byte, and live values.
set -eu
# What changes by itself: caches, and what the account database keeps as the copy of before.
find /etc -type f ! -name '*-' ! -name ld.so.cache ! -name adjtime ! -name .updated -print0 | sort -z | xargs -0 sha256sum
find /etc -type d | sort
find /etc -type l -printf '%p -> %l\n' | sort
sysctl vm.overcommit_memory vm.overcommit_ratio vm.overcommit_kbytes vm.swappiness vm.dirty_ratio vm.dirty_bytes \
  vm.dirty_background_ratio vm.dirty_background_bytes fs.aio-max-nr
grep . /sys/block/vd?/queue/scheduler /sys/block/vd?/queue/add_random /sys/block/vd?/queue/read_ahead_kb
for point in /var/lib/holdfast /srv/archive; do
  findmnt --noheadings --output=TARGET,VFS-OPTIONS,FS-OPTIONS --mountpoint="$point"
done
systemctl show --property=Id,TasksMax,LimitNOFILE,LimitNOFILESoft cron.service postgresql@17-main.service
grep 'open files' "/proc/$(systemctl show --value --property=MainPID postgresql@17-main.service)/limits"
cat "/sys/fs/cgroup/$(systemctl show --value --property=ControlGroup cron.service)/pids.max"
runuser postgres -c 'cat /proc/self/limits'
