#!/usr/bin/env bash
# A session on a borrowed CUDA machine that has PyTorch and no network:
#
#     benchmarks/gpu_session.sh MINUTES DATA
#
# MINUTES is all the time that there is; DATA a folder of data sets (lol_v1 in it), or of its packs
# (benchmarks/data_packs.py). Checks come first, then the speed of steps, then the cells of the studies that are not
# finished yet, until the time is up; what is finished is packed at the end. From the environment:
#
#     WHEELS    folder that benchmarks/gpu_wheels.py has filled; without it, Python's own packages are used
#     OUT       where results go (default: gpu-session)
#     STUDIES   names of studies, in order (default: gpu_retinexformer gpu_cidnet gpu_restormer)
#     REHEARSE  1: tiny networks of a few steps on the CPU, to see that all of it works
#
# Afterwards, at home: tar -xzf OUT/cells.tar.gz -C docs/results/studies, then undim study report and undim paper all.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
minutes=$1
data=$(cd "$2" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(mkdir -p "${OUT:-gpu-session}" && cd "${OUT:-gpu-session}" && pwd)
python=${PYTHON:-python3}
end=$(($(date +%s) + $("$python" -c "print(int(float('$minutes') * 60))")))
left() { "$python" -c "import time; print(max(0.01, ($end - time.time() - ${1:-0}) / 60))"; }
say() { echo "== $(date +%T) $*"; }

export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "${WHEELS:-}" ]; then
    say "packages from $WHEELS"
    "$python" -m pip install --quiet --no-index --no-deps --target "$out/site" "$WHEELS"/*.whl
    PYTHONPATH="$PYTHONPATH:$out/site"
fi
if [ -f "$data/packs.json" ]; then
    say "pictures from packs"
    [ -d "$out/data/lol_v1" ] || "$python" "$root/benchmarks/data_packs.py" join "$data" -o "$out/data/lol_v1"
    data=$out/data
fi
export UNDIM_DATA=$data
cd "$root"

device=cuda
studies=()
for name in ${STUDIES:-gpu_retinexformer gpu_cidnet gpu_restormer}; do
    studies+=("studies/$name.yaml")
done
if [ "${REHEARSE:-0}" = 1 ]; then
    device=cpu
    "$python" benchmarks/gpu_rehearsal.py "${studies[@]}" -o "$out/plans"
    studies=("${studies[@]/#studies/$out/plans}")
else
    "$python" -c 'import torch; assert torch.cuda.is_available(), "PyTorch sees no CUDA device here"'
fi

say "checks"
read -ra tests <<<"${CHECKS:-tests/training/test_device.py tests/training/test_no_host.py}"
[ "$device" = cpu ] || tests+=(tests/runtimes/test_by_torch_cuda.py tests/study/test_together.py)
# A check that fails is written down; the cells are worth having all the same, and the reader is told.
timeout 300 "$python" -m pytest -p no:cacheprovider -rs "${tests[@]}" >"$out/checks.txt" 2>&1 \
    && echo "checks: passed" >>"$out/checks.txt" || echo "checks: FAILED" >>"$out/checks.txt"
tail -n 1 "$out/checks.txt"

say "steps a second"
if [ "$device" = cpu ]; then
    "$python" benchmarks/step_rate.py --networks candela_tiny --steps 2 --crop 16 --batch 2 >"$out/steps.md"
else
    timeout 300 "$python" benchmarks/step_rate.py >"$out/steps.md" || echo "ended early" >>"$out/steps.md"
fi
cat "$out/steps.md"

mkdir -p "$out/studies"
for plan in "${studies[@]}"; do
    name=$(basename "$plan" .yaml)
    if [ -d "docs/results/studies/$name" ] && [ ! -d "$out/studies/$name" ] && [ "$device" = cuda ]; then
        cp -r "docs/results/studies/$name" "$out/studies/$name" # what is finished is not trained again
    fi
    [ "$(date +%s)" -lt $((end - 30)) ] || break
    say "$name, $(left 20 | cut -c1-5) minutes left"
    "$python" -m undim study "$plan" -o "$out/studies/$name" --device "$device" --together \
        --max-minutes "$(left 20)" || say "$name: not all cells could be finished"
done

say "packing"
(cd "$out/studies" && find . -path '*/cells/*.json' -o -name plan.json | LC_ALL=C sort | tar -czf "$out/cells.tar.gz" -T -)
"$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")' \
    >"$out/machine.txt"
say "$(tar -tzf "$out/cells.tar.gz" | grep -c /cells/ || true) cells in $out/cells.tar.gz"
