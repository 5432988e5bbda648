#!/usr/bin/env bash
# Build the sdist and the wheel, check them, and try the wheel: on each Python, with each extra, and both again with the
# lowest versions that pyproject.toml allows. Each in an environment of its own, from a folder that is not the clone.
#
# Needs uv (pip install uv) and an index. PYTHONS="3.11 3.12" and EXTRAS="hub serve" try fewer; a Python that uv neither
# finds nor can fetch is named and passed over. uv's own variables count: on Linux, UV_CONSTRAINT naming a file with
# "torch==2.13.0+cpu" and UV_FIND_LINKS or UV_EXTRA_INDEX_URL, from where that is, save gigabytes of CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
read -ra pythons <<<"${PYTHONS:-3.11 3.12 3.13 3.14}"
read -ra extras <<<"${EXTRAS:-$(python3 -c '
import tomllib
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*(name for name in extras if name not in ("dev", "docs")))')}"
passed_over=()

say() { echo "== $1 (after $SECONDS s)"; }

# The README's words; then what the extra is for.
try() {
    local home=$1 extra=${2:-}
    mkdir -p "$home/try"
    cp -r examples .ci "$home/try"
    (
        cd "$home/try"
        "$home/bin/undim" enhance examples -o bright
        "$home/bin/python" .ci/check_base.py ${extra:+"$extra"}
        "$home/bin/undim" doctor >doctor.txt
        [ -z "$extra" ] || "$home/bin/python" -c "${use[$extra]:?say in this script what the extra $extra is for}"
    )
    rm -rf "$home"
}

declare -A use=(
    [heic]="import pi_heif"
    [raw]="import rawpy"
    [tiff]="import imagecodecs"
    [video]="import undim.video.run, undim.cli.video"
    [serve]="import undim.serve.app, undim.serve.server"
    [remote]="import pyarrow.parquet, s3fs, aiohttp, undim.batch.stores"
    [ray]="import ray.data, undim.batch.ray_engine"
    [openvino]="import undim; undim.Enhancer('tiny', runtime='openvino')"
    [hub]="import huggingface_hub, undim.hub.asking; undim.hub.asking.open_hub()"
    [torch]="import undim; undim.Enhancer('tiny', runtime='torch')"
    [train]="import undim.training.loop, undim.redundancy, undim.metrics.evaluation, undim.study.runner"
)

say "build and check"
uv build --quiet --out-dir "$work/dist"
uvx --quiet twine check --strict "$work"/dist/*
wheel=$(ls "$work"/dist/*.whl)

for version in "${pythons[@]}"; do
    say "base install on Python $version"
    if ! uv venv --quiet --python "$version" "$work/base" 2>"$work/why"; then
        echo "Python $version is not to be had here: $(tail -n 1 "$work/why")"
        passed_over+=("$version")
        continue
    fi
    uv pip install --quiet --python "$work/base" "$wheel"
    try "$work/base"
done

for extra in "${extras[@]}"; do
    say "extra $extra"
    uv venv --quiet --python "${pythons[0]}" "$work/$extra"
    uv pip install --quiet --python "$work/$extra" "$wheel[$extra]"
    try "$work/$extra" "$extra"
done

for extra in "" "${extras[@]}"; do
    say "the lowest versions${extra:+ of the extra $extra}"
    uv venv --quiet --python "${pythons[0]}" "$work/lowest"
    uv pip install --quiet --python "$work/lowest" --resolution lowest-direct ${extra:+--extra "$extra"} -r pyproject.toml
    uv pip install --quiet --python "$work/lowest" --no-deps "$wheel"
    uv pip freeze --python "$work/lowest" | grep -v ' @ ' | tr '\n' ' '
    echo
    try "$work/lowest" "$extra"
done

say "all well${passed_over[*]:+; not tried, for want of them: Python ${passed_over[*]}}"
