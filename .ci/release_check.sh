#!/usr/bin/env bash
# Build the sdist and the wheel, check them, and try the wheel: alone, with each extra, and with the lowest versions allowed.
# Needs uv (pip install uv) and an index; PYTHONS="3.11 3.12 3.13 3.14" tries the base install on each that uv finds.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
read -ra pythons <<<"${PYTHONS:-3.11}"

echo "== build and check"
uv build --quiet --out-dir "$work/dist"
uvx --quiet twine check --strict "$work"/dist/*
wheel=$(ls "$work"/dist/*.whl)

# The README's words, from a folder that is not the clone.
try() {
    local bin=$1/bin folder=$1/try
    mkdir -p "$folder"
    cp -r examples .ci "$folder"
    (cd "$folder" && "$bin/undim" enhance examples -o bright && "$bin/python" .ci/check_base.py "${@:2}" && "$bin/undim" doctor >doctor.txt)
}

for version in "${pythons[@]}"; do
    echo "== base install on Python $version"
    uv venv --quiet --python "$version" "$work/base-$version"
    uv pip install --quiet --python "$work/base-$version" "$wheel"
    try "$work/base-$version"
done

# Of each extra: what it is for.
declare -A use=(
    [heic]="import pi_heif" [raw]="import rawpy" [tiff]="import imagecodecs" [video]="import undim.video.run"
    [openvino]="import undim; undim.Enhancer('tiny', runtime='openvino')" [torch]="import undim; undim.Enhancer('tiny', runtime='torch')"
    [hub]="import huggingface_hub, undim.hub"
    [train]="import undim.training.loop, undim.redundancy, undim.metrics.evaluation"
)
extras=$(python3 -c 'import tomllib; print(*(name for name in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"] if name not in ("dev", "docs")))')
for extra in $extras; do
    echo "== extra $extra"
    uv venv --quiet --python "${pythons[0]}" "$work/$extra"
    uv pip install --quiet --python "$work/$extra" "$wheel[$extra]"
    try "$work/$extra" "$extra"
    (cd "$work" && "$work/$extra/bin/python" -c "${use[$extra]:-import undim}")
    rm -rf "${work:?}/$extra"
done

echo "== the lowest versions that pyproject.toml allows"
uv venv --quiet --python "${pythons[0]}" "$work/lowest"
uv pip install --quiet --python "$work/lowest" --resolution lowest-direct -r pyproject.toml
uv pip install --quiet --python "$work/lowest" --no-deps "$wheel"
try "$work/lowest"
"$work/lowest/bin/undim" doctor
