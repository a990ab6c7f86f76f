#!/bin/sh
# How large the images are, and what makes them so: layers, then the largest packages. TOOL=podman where there is no docker.
set -eu
tool=${TOOL:-docker}
[ $# -gt 0 ] || set -- fraud-gateway fraud-mlflow fraud-pipelines
for image in "$@"; do
  printf '%s  %d MB\n' "$image" "$(($("$tool" image inspect --format '{{.Size}}' "$image") / 1000000))"
  "$tool" history --no-trunc --format '{{.Size}}|{{.CreatedBy}}' "$image" | awk -F '|' '$1 !~ /^0 ?B/ {
    print "  layer    " $1 "  " substr($2, 1, 90) }'
  made=$("$tool" create "$image")
  "$tool" cp "$made:/opt/venv/lib" - | tar -t -v | awk '
    { split($6, part, "/"); size[part[4]] += $3 }
    END { for (name in size) if (size[name] > 10e6) printf "  package  %d MB  %s\n", size[name] / 1e6, name }' | sort -k 2 -n -r
  "$tool" rm "$made" >/dev/null
done
